"use strict";
/* Timing: how fast backends are compared with uncompiled, what compiling costs, and what is counted. */
conformance.extend(({ data, load, h, link, table, plain, chosen, query, current, ofCase: sections, ofCompare: comparisons }) => {
  const PHASES = ["step", "forward", "backward", "dispatch"];
  const COUNTED = {
    graphs: "graphs", graph_breaks: "breaks", recompiles: "recompiles", guards: "guards", fx_nodes: "FX nodes",
    kernels: "kernels", saved_bytes: "saved bytes", eager_saved_bytes: "uncompiled", peak_bytes: "peak bytes",
    eager_peak_bytes: "uncompiled",
  };
  const SYMBOLS = ["circle", "square", "diamond", "triangle-down", "triangle-up", "cross", "star", "x"];
  const LINES = { 1e2: "dot", 1e4: "dash", 1e6: "longdashdot" }; // calls until compiling has paid
  const NARROW = "(max-width: 44rem)"; // a plot says nothing there

  const timed = async (run) => {
    if (!data.timings.has(run.name)) await load(run.file);
    return data.timings.get(run.name);
  };
  const all = () => Promise.all(data.meta.timings.map(async (run) => ({ torch: run.torch, ...(await timed(run)) })));
  const named = (one) => (plain(one.variant) === "plain" ? one.case : `${one.case} ${plain(one.variant)}`);
  const number = (value) => (value === null ? "?" : value < 0.0995 ? value.toPrecision(2) : value.toFixed(2));
  const interval = (one) => `${number(one.ratio)} (${number(one.low)} to ${number(one.high)})`;
  const time = (seconds) => {
    if (seconds === null) return "";
    const [unit, size] = [["s", 1], ["ms", 1e-3]].find(([, each]) => seconds >= each) || ["us", 1e-6];
    return `${Number((seconds / size).toPrecision(3))} ${unit}`;
  };
  const speed = (word) => h("span", { class: `chip speed-${word}` }, word);
  const backends = (rows) => [...new Set(rows.map((each) => each.backend))];

  /* Plots; the tables beside them say the same in words. */

  const plot = (label, traces, layout) => {
    const place = h("div", { class: "plot", role: "group", "aria-label": label });
    const style = getComputedStyle(document.body);
    const axis = { gridcolor: style.getPropertyValue("--line"), zerolinecolor: style.getPropertyValue("--line"), automargin: true };
    const drawn = load("vendor/plotly-basic.min.js").then(() => new Promise((resolve) => {
      const draw = () => (place.isConnected ? resolve(Plotly.newPlot(place, traces, {
        ...layout, xaxis: { ...axis, ...layout.xaxis }, yaxis: { ...axis, ...layout.yaxis },
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: style.color, size: 12 },
        legend: { orientation: "h", y: 1.02, yanchor: "bottom" }, margin: { l: 20, r: 20, t: 40, b: 50 },
        hovermode: "closest",
      }, { responsive: true, displaylogo: false })) : requestAnimationFrame(draw));
      draw();
    }));
    drawn.then(() => { place.dataset.drawn = "yes"; });
    return place;
  };

  const speedUps = (rows, phase) => {
    const sums = new Map();
    for (const one of rows) {
      const [sum, count] = sums.get(named(one)) || [0, 0];
      sums.set(named(one), [sum + Math.log(one.ratio), count + 1]);
    }
    const names = [...sums].sort(([, one], [, other]) => other[0] / other[1] - one[0] / one[1]).map(([name]) => name);
    const traces = backends(rows).map((backend, place) => {
      const own = rows.filter((each) => each.backend === backend);
      return {
        type: "scatter", mode: "markers", name: backend, x: own.map((each) => each.ratio), y: own.map(named),
        marker: { symbol: SYMBOLS[place % SYMBOLS.length], size: 7 },
        error_x: {
          type: "data", symmetric: false, thickness: 1, width: 0,
          array: own.map((each) => (each.high === null ? 0 : each.high - each.ratio)),
          arrayminus: own.map((each) => (each.low === null ? 0 : each.ratio - each.low)),
        },
        text: own.map((each) => `${each.speed}: ${interval(each)}<br>${time(each.seconds)}, uncompiled ${time(each.eager_s)}`),
        hovertemplate: "%{y}<br>%{text}<extra>%{fullData.name}</extra>",
      };
    });
    return plot(`Time of a ${phase} over uncompiled, by case and backend; left is faster`, traces, {
      height: 200 + 18 * names.length,
      xaxis: { type: "log", title: { text: "time over uncompiled, with its 95 % interval; left is faster" } },
      yaxis: { categoryorder: "array", categoryarray: names, range: [-0.7, names.length - 0.3] },
      shapes: [{ type: "line", x0: 1, x1: 1, yref: "paper", y0: 0, y1: 1, line: { color: "#808080", width: 1 } }],
    });
  };

  const compiling = (found) => {
    const longest = new Map();
    for (const phase of ["dispatch", "forward", "step"]) {
      for (const one of found.rows) if (one.phase === phase) longest.set(`${one.backend} ${named(one)}`, one);
    }
    const paying = found.compiling.map((cost) => ({ cost, call: longest.get(`${cost.backend} ${named(cost)}`) }))
      .filter(({ call }) => call && call.speed === "faster" && call.eager_s > call.seconds)
      .map(({ cost, call }) => ({ ...cost, saved: call.eager_s - call.seconds }));
    if (!paying.length) return h("p", {}, "No call is faster than uncompiled, so compiling pays nowhere.");
    const saved = paying.map((each) => each.saved), ends = [Math.min(...saved), Math.max(...saved)];
    const traces = backends(paying).map((backend, place) => {
      const own = paying.filter((each) => each.backend === backend);
      return {
        type: "scatter", mode: "markers", name: backend, x: own.map((each) => each.saved), y: own.map((each) => each.cold),
        marker: { symbol: SYMBOLS[place % SYMBOLS.length], size: 7 },
        text: own.map((each) => `${named(each)}<br>compiles in ${time(each.cold)}, saves ${time(each.saved)} a call;<br>pays after ${each.pays} calls`),
        hovertemplate: "%{text}<extra>%{fullData.name}</extra>",
      };
    });
    const lines = Object.entries(LINES).map(([calls, dash]) => ({
      type: "scatter", mode: "lines", name: `pays after ${Number(calls).toLocaleString("en")} calls`, x: ends,
      y: ends.map((end) => calls * end), line: { color: "#808080", width: 1, dash }, hoverinfo: "skip",
    }));
    const never = found.compiling.length - paying.length;
    return [never ? h("p", {}, `Of ${found.compiling.length} compilations ${never} save nothing that was shown; they are in the table.`) : null, plot("Seconds to compile beside seconds that each call saves", [...traces, ...lines], {
      height: 480, xaxis: { type: "log", autorange: "reversed", exponentformat: "SI", title: { text: "seconds saved by each call; left is faster" } },
      yaxis: { type: "log", exponentformat: "SI", title: { text: "seconds to compile, cold" } },
    })];
  };

  /* Tables. */

  const ratios = (rows, caption) => table(["case", "variant", "backend", "phase", "speed", "over uncompiled", "time", "uncompiled"],
    rows.map((one) => [link(`case/${one.case}`, one.case), plain(one.variant), link(`timing/${one.backend}`, one.backend), one.phase,
      speed(one.speed), interval(one), time(one.seconds), time(one.eager_s)]), caption);

  const costs = (rows) => (rows.length
    ? table(["case", "variant", "backend", "cold", "with its cache", "calls until it pays"], rows.map((one) =>
      [link(`case/${one.case}`, one.case), plain(one.variant), one.backend, time(one.cold), time(one.warm), one.pays]),
    "Seconds of the first call")
    : null);

  const counts = (rows) => (rows.length
    ? table(["case", "variant", "backend", ...Object.values(COUNTED)], rows.map((one) =>
      [link(`case/${one.case}`, one.case), plain(one.variant), one.backend,
        ...Object.keys(COUNTED).map((name) => (one[name] === undefined ? "" : one[name].toLocaleString("en")))]),
    "Counted, the same each time")
    : null);

  /* Pages. */

  const page = async (show, backend) => {
    const runs = await all();
    if (!runs.length) return show("Timing", h("p", {}, "These records have no timings; conformance bench makes them."));
    const names = runs.map((run) => `torch ${run.torch}, ${run.started.slice(0, 16)}`);
    const of = Math.max(0, names.indexOf(query().get("run"))), found = runs[of];
    const phase = PHASES.includes(query().get("phase")) ? query().get("phase") : "step";
    const own = (rows) => rows.filter((each) => !backend || each.backend === backend);
    const rows = own(found.rows).filter((each) => each.phase === phase);
    const details = (title, made) => h("details", { open: matchMedia(NARROW).matches }, h("summary", {}, title), made);
    return show(backend ? `Timing of ${backend}` : "Timing",
      h("p", {}, chosen("run", names, names[of], "run"), " ", chosen("phase", PHASES, phase, "phase"),
        backend ? [" ", link("timing", "all backends")] : null),
      h("p", {}, `On ${found.cpu}, torch ${found.torch}, ${found.threads === 1 ? "1 thread" : `${found.threads} threads`}.`,
        found.torch === current() ? "" : h("strong", {}, ` These are not of ${current()}, which is chosen above.`)),
      h("p", {}, "A ratio is the time of a call over that of an uncompiled one, in alternating blocks in one process: 0.5 "
        + `takes half as long. It is faster or slower where its whole 95 % interval lies beyond ${found.smallest * 100} %. ${found.noise}`),
      backend ? null : summary(found.overall, phase),
      h("h2", {}, `Time of a ${phase}`),
      rows.length ? [speedUps(rows, phase), details("As a table", ratios(rows, `Time of a ${phase}`))] : h("p", {}, "It was not timed."),
      h("h2", {}, "Compile time against time saved"), compiling({ rows: own(found.rows), compiling: own(found.compiling) }),
      details("As a table", costs(own(found.compiling))),
      h("h2", {}, "Counted, not timed"), h("details", {}, h("summary", {}, "Graphs, guards, kernels, bytes"), counts(own(found.counted))));
  };

  /* The geometric means of a phase: each over the cases that conform on that backend, which are not the same ones. */
  const summary = ({ heads, lines }, phase) => [
    h("p", {}, "Each mean is over what conforms on that backend and was timed: compare two backends only where they were timed as often."),
    table(heads.filter((each) => each !== "phase"), lines.filter((line) => line[1] === phase).map(([name, , ...rest]) => {
      const worst = rest.pop();
      return [link(`timing/${name}`, name), ...rest, link(`case/${worst.split(" ")[0]}`, worst)];
    }), "Geometric mean of the ratios over all that was timed")];

  const ofCase = async (name) => (await all()).map((found) => {
    const own = (rows) => rows.filter((each) => each.case === name);
    const rows = own(found.rows);
    return rows.length ? [h("h2", {}, `Timing on torch ${found.torch}`), ratios(rows, "Time over uncompiled"),
      costs(own(found.compiling)), counts(own(found.counted))] : [];
  });

  /* Where the intervals of two releases do not overlap. */
  const ofCompare = async (from, to) => {
    const runs = await all(), [before, after] = [from, to].map((release) => runs.find((run) => run.torch === release));
    const missing = [[from, before], [to, after]].filter(([, run]) => !run).map(([release]) => release);
    if (missing.length) return [h("h2", {}, "Timing"), h("p", {}, `There are no timings of ${missing.join(" and ")}.`)];
    const key = (one) => `${one.backend} ${one.case} ${one.variant} ${one.phase}`;
    const old = new Map(before.rows.map((one) => [key(one), one]));
    const pairs = after.rows.map((now) => [old.get(key(now)), now]).filter(([was]) => was);
    const group = (title, apart) => {
      const found = pairs.filter(apart);
      return [h("h2", {}, `${title}: ${found.length} of ${pairs.length}`), found.length
        ? table(["case", "variant", "backend", "phase", from, to], found.map(([was, now]) =>
          [link(`case/${now.case}`, now.case), plain(now.variant), now.backend, now.phase, interval(was), interval(now)]), title)
        : null];
    };
    const apart = (low, high) => low !== null && high !== null && low > high;
    const where = (run) => `${run.cpu}, ${run.threads === 1 ? "1 thread" : `${run.threads} threads`}`;
    const machines = where(before) === where(after) ? [] : [h("p", { class: "note" },
      `Timed on different machines: ${where(before)}, and ${where(after)}.`)];
    return [...machines, h("p", {}, "Ratios are to what is uncompiled on the same release, which may be faster or slower itself."),
      group("Slower now, relative to uncompiled", ([was, now]) => apart(now.low, was.high)), group("Faster now, relative to uncompiled", ([was, now]) => apart(was.low, now.high))];
  };

  sections.push(ofCase);
  comparisons.push(ofCompare);
  return { pages: { timing: page } };
});
