"use strict";
/* The site's application: everything is drawn from the records in `data/`, which are loaded as scripts so that the
   pages work from a file too. Text of records only ever becomes a text node. */
const conformance = (() => {
  const MOST = 500; // rows of a table that are drawn at once
  const SCOPE = 2; // chapters that say what an area is about
  const KEYS = ["backend", "case", "variant", "area", "verdict", "check", "cause", "clauses", "message"];
  const data = {
    meta: null, rows: new Map(), details: new Map(), cases: new Map(), scripts: new Map(), timings: new Map(),
  };
  const pending = new Map();
  const main = () => document.getElementById("main");

  /* Data. */

  const put = (kind, name, value) => {
    if (kind === "meta") {
      data.meta = value;
      start();
    } else if (kind === "rows") {
      data.rows.set(name, decoded(value.columns));
    } else {
      data[kind].set(name, value);
    }
  };

  const load = (file) => {
    if (!pending.has(file)) {
      pending.set(file, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = file;
        script.onload = resolve;
        script.onerror = () => reject(new Error(`cannot load ${file}`));
        document.head.append(script);
      }));
    }
    return pending.get(file);
  };

  const decoded = (columns) => {
    const table = { length: 0, words: {}, codes: {} };
    for (const [name, column] of Object.entries(columns)) {
      const bytes = Uint8Array.from(atob(column.codes), (each) => each.charCodeAt(0));
      table.words[name] = column.words;
      table.codes[name] = column.size === 2 ? new Uint16Array(bytes.buffer) : new Uint32Array(bytes.buffer);
      table.length = table.codes[name].length;
    }
    return table;
  };

  const rowsOf = async (release) => {
    if (!data.rows.has(release)) await load(data.meta.releases[release].file);
    return data.rows.get(release);
  };

  const detailsOf = async (release, backend) => {
    const facts = data.meta.releases[release], name = `${release} ${backend}`;
    if (!data.details.has(name) && Object.hasOwn(facts.details, backend)) await load(facts.details[backend]);
    return data.details.get(name) || {};
  };

  const scriptOf = async (release, backend, request) => {
    const file = (data.meta.releases[release].scripts || {}), name = `${release} ${backend}`;
    if (!Object.hasOwn(file, backend)) return null;
    if (!data.scripts.has(name)) await load(file[backend]);
    const { texts, of } = data.scripts.get(name);
    return Object.hasOwn(of, request) ? texts[of[request]] : null;
  };

  const caseOf = async (name) => {
    const area = name.split(".")[0];
    if (!data.cases.has(area) && data.meta.areas.includes(area)) await load(`data/cases/${area}.js`);
    const found = data.cases.get(area);
    return found && Object.hasOwn(found, name) ? found[name] : null;
  };

  const row = (table, place) =>
    Object.fromEntries(KEYS.map((name) => [name, table.words[name][table.codes[name][place]]]));

  /* Drawing. */

  const h = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children.flat(Infinity).filter((each) => each !== null && each !== undefined));
    return made;
  };

  const link = (path, text = path, query = {}) => {
    const words = new URLSearchParams(query).toString();
    return h("a", { href: `#/${path.split("/").map(encodeURIComponent).join("/")}${words ? `?${words}` : ""}` }, text);
  };

  const search = (q, text) => link("search", text, { q, release: current() });

  const table = (heads, lines, caption = "") =>
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption || heads.join(", ") },
      h("table", {},
        caption ? h("caption", {}, caption) : null,
        h("thead", {}, h("tr", {}, heads.map((each) => h("th", { scope: "col" }, each)))),
        h("tbody", {}, lines.map((line) =>
          h("tr", {}, line.map((each, place) => h(place ? "td" : "th", place ? {} : { scope: "row" }, each)))))));

  const chip = (verdict) => {
    const known = Object.hasOwn(data.meta.legend, verdict) ? data.meta.legend[verdict] : { means: "" };
    return h("span", { class: `chip ${verdict}`, title: known.means }, verdict);
  };

  const brief = (message) => h("span", { class: "message", title: message }, message);

  const chosen = (label, options, value, key) => h("label", {}, label, " ", h("select", { onchange: (event) => {
    const [path, words] = location.hash.split("?"), next = new URLSearchParams(words || "");
    next.set(key, event.target.value);
    location.hash = `${path}?${next}`;
  } }, options.map((each) => h("option", { selected: each === value }, each))));

  const download = (name, text) => {
    const made = h("a", { href: URL.createObjectURL(new Blob([text], { type: "text/plain" })), download: name });
    made.click();
    URL.revokeObjectURL(made.href);
  };

  const external = (address) =>
    /^https:\/\//.test(address) ? h("a", { href: address, rel: "noreferrer" }, address) : document.createTextNode(address);

  let visit = 0; // counts navigations: a page that was waited for must not replace a later one
  const pageOf = (mine) => (title, ...children) => {
    if (mine !== visit) return;
    document.title = `${title} - torch.compile conformance`;
    main().replaceChildren(h("h1", {}, title), ...children.flat(Infinity).filter(Boolean));
    if (mine > 1) main().focus({ preventScroll: true });
    document.body.dataset.ready = location.hash;
  };

  /* Counting. */

  const tally = (counts) => {
    let conforming = 0, scored = 0;
    for (const [verdict, count] of Object.entries(counts)) {
      const known = data.meta.legend[verdict];
      if (known.conforms) conforming += count;
      if (known.scored) scored += count;
    }
    return { conforming, scored };
  };

  const grouped = (found, ...names) => {
    const groups = new Map();
    for (let place = 0; place < found.length; place++) {
      const key = names.map((name) => found.codes[name][place]).join(" ");
      const verdict = found.words.verdict[found.codes.verdict[place]];
      if (!groups.has(key)) groups.set(key, { place, counts: {} });
      const counts = groups.get(key).counts;
      counts[verdict] = (counts[verdict] || 0) + 1;
    }
    return [...groups.values()].map((each) => ({
      ...Object.fromEntries(names.map((name) => [name, found.words[name][found.codes[name][each.place]]])),
      ...tally(each.counts), counts: each.counts,
    }));
  };

  const score = (one) => (one.scored ? `${one.conforming}/${one.scored}` : "-");

  /* Filters: words, and `key:value` or `-key:value`, all of which must hold. */

  const parsed = (text) =>
    [...text.matchAll(/(-?)(?:([a-z]+):)?("[^"]*"|\S+)/g)].map(([, minus, key, value]) => ({
      key: key === "clause" ? "clauses" : key || "", not: Boolean(minus), value: value.replaceAll('"', "").toLowerCase(),
    }));

  const masks = (found, one) => {
    const exact = ["backend", "verdict", "area", "cause", "check", "variant"].includes(one.key);
    const names = one.key ? [one.key] : ["case", "message"];
    return names.map((name) => {
      const words = Object.hasOwn(found.words, name) ? found.words[name] : [];
      return [found.codes[name], Uint8Array.from(words, (word) => {
        const lower = word.toLowerCase();
        if (name === "clauses") return lower.split(" ").includes(one.value) ? 1 : 0;
        return (exact ? lower === one.value : lower.includes(one.value)) ? 1 : 0;
      })];
    });
  };

  const filtered = (found, text) => {
    const tests = parsed(text).map((one) => ({ not: one.not, masks: masks(found, one) }));
    const places = [];
    for (let place = 0; place < found.length; place++) {
      let holds = true;
      for (const { not, masks: each } of tests) {
        let any = false;
        for (const [codes, mask] of each) if (codes && mask[codes[place]]) { any = true; break; }
        if (any === not) { holds = false; break; }
      }
      if (holds) places.push(place);
    }
    return places;
  };

  /* Pages. */

  const overview = async (show) => {
    const release = current(), found = await rowsOf(release), facts = data.meta.releases[release];
    const cells = new Map(grouped(found, "area", "backend").map((each) => [`${each.area} ${each.backend}`, each]));
    const areas = [...found.words.area].sort(), totals = new Map(grouped(found, "backend").map((each) => [each.backend, each]));
    const names = Object.keys(facts.backends).filter((name) => totals.has(name));
    const scopes = scopesOf(found);
    const lines = areas.map((area) => [[search(`area:${area}`, area), h("span", { class: "scope" }, scopes.get(area))],
      ...names.map((name) => {
        const one = cells.get(`${area} ${name}`);
        return one ? search(`backend:${name} area:${area}`, score(one)) : "";
      })]);
    lines.push(["all", ...names.map((name) => score(totals.get(name)))]);
    const stated = Object.entries(facts.levels || {}).filter(([name]) => totals.has(name));
    show(`Results on torch ${release}`,
      h("p", {}, "Conforming requests of those that are scored, by area and backend. Every cell leads to its requests."),
      table(["area", ...names.map((name) => [link(`backend/${name}`, name), otherTorch(facts, name, release)])], lines, "Conforming / scored"),
      stated.length ? [h("h2", {}, "Levels"),
        table(["backend", ...stated[0][1].levels.map((each) => each.level)], stated.map(([name, { levels }]) =>
          [link(`backend/${name}`, name), ...levels.map(reach)]), "Conforming / scored of each level, or reached")] : null,
      h("h2", {}, "What stands between each backend and 100 %"),
      names.map((name) => [h("h3", {}, link(`backend/${name}`, name)), causesOf(found, facts, name, 3)]));
  };

  /* Backends that were run on another torch than the one that the release is called after. */
  const otherTorch = (facts, name, release) => {
    const { torch } = facts.backends[name];
    return torch && torch !== release ? h("span", { class: "scope" }, `torch ${torch}`) : null;
  };

  const reach = (level) => (level.reached ? h("strong", {}, "reached") : `${level.conforming}/${level.scored}`);

  /* What the cases of an area are about: their number, and the chapters of the specification that most of them test. */
  const scopesOf = (found) => {
    const areas = new Map(), seen = new Set();
    for (let place = 0; place < found.length; place++) {
      const area = found.words.area[found.codes.area[place]], key = `${area} ${found.codes.case[place]}`;
      if (seen.has(key)) continue;
      seen.add(key);
      if (!areas.has(area)) areas.set(area, { cases: 0, chapters: new Map() });
      const scope = areas.get(area);
      scope.cases++;
      const clauses = found.words.clauses[found.codes.clauses[place]].split(" ").filter(Boolean);
      for (const chapter of new Set(clauses.map((clause) => clause.split("-")[0]))) {
        scope.chapters.set(chapter, (scope.chapters.get(chapter) || 0) + 1);
      }
    }
    return new Map([...areas].map(([area, { cases, chapters }]) => [area, [cases === 1 ? "1 case" : `${cases} cases`,
      ...[...chapters].sort((one, other) => other[1] - one[1]).slice(0, SCOPE)
        .map(([each]) => (Object.hasOwn(data.meta.chapters, each) ? data.meta.chapters[each] : each))].join(", ")]));
  };

  const causesOf = (found, facts, backend, most) => {
    const counts = new Map();
    for (const place of filtered(found, `backend:${backend}`)) {
      const cause = found.words.cause[found.codes.cause[place]];
      if (cause) counts.set(cause, (counts.get(cause) || 0) + 1);
    }
    const ordered = [...counts].sort((one, other) => other[1] - one[1]);
    if (!ordered.length) return h("p", {}, "Nothing.");
    return [
      h("ol", { class: "causes" }, ordered.slice(0, most).map(([cause, count]) =>
        h("li", {}, link(`cause/${cause}`, (facts.causes[cause] || { words: cause }).words),
          ` `, search(`backend:${backend} cause:${cause}`, count === 1 ? "1 request" : `${count} requests`)))),
      ordered.length > most ? h("p", {}, link(`backend/${backend}`, `and ${ordered.length - most} more`)) : null,
    ].filter(Boolean);
  };

  const backendPage = async (show, name) => {
    const release = current(), found = await rowsOf(release), facts = data.meta.releases[release];
    const info = Object.hasOwn(facts.backends, name) ? facts.backends[name] : {};
    const lines = grouped(found, "area", "backend").filter((each) => each.backend === name)
      .sort((one, other) => one.area.localeCompare(other.area))
      .map((each) => [search(`backend:${name} area:${each.area}`, each.area), score(each),
        search(`backend:${name} area:${each.area} -verdict:pass`, Object.entries(each.counts)
          .filter(([verdict]) => verdict !== "pass").map(([verdict, count]) => `${count} ${verdict}`).join(", ") || "-")]);
    show(name, h("p", {}, [info.description, info.torch ? `run on torch ${info.torch}` : ""].filter(Boolean).join("; ")),
      info.unavailable ? h("p", { class: "note" }, `It could not be used here: ${info.unavailable}`) : null,
      levelsOf(facts, name),
      h("h2", {}, "Root causes, most requests first"), causesOf(found, facts, name, 1000),
      h("h2", {}, "By area"), table(["area", "conforming / scored", "everything else"], lines),
      h("h2", {}, "What it claims"), h("p", {}, (info.capabilities || []).join(", ") || "nothing"));
  };

  const levelsOf = (facts, name) => {
    const known = facts.levels || {};
    if (!Object.hasOwn(known, name)) return null;
    const { levels, statement } = known[name];
    return [h("h2", {}, "Levels"),
      table(["level", "conforming / scored", "badge", "for shields.io"], levels.map((each) => [
        each.level, reach(each), h("img", { src: `${each.badge}.svg`, alt: `${each.level}: ${reach(each).textContent || reach(each)}` }),
        h("a", { href: `${each.badge}.json` }, `${each.badge}.json`)]), "Levels of the specification"),
      h("p", {}, h("a", { href: statement, download: true }, "The statement"),
        ", which conformance verify holds against the records.")];
  };

  const casePage = async (show, name) => {
    const about = await caseOf(name), history = new Map(), releases = Object.keys(data.meta.releases);
    for (const release of releases) {
      const found = await rowsOf(release), code = found.words.case.indexOf(name);
      for (let place = 0; place < found.length && code >= 0; place++) {
        if (found.codes.case[place] !== code) continue;
        const one = row(found, place), key = `${one.backend} ${one.variant}`;
        if (!history.has(key)) history.set(key, { backend: one.backend, variant: one.variant, by: {} });
        history.get(key).by[release] = one;
      }
    }
    const place = h("div", { class: "detail", "aria-live": "polite" });
    const order = [...releases].reverse().flatMap((release) => Object.keys(data.meta.releases[release].backends));
    const ordered = [...history.values()].sort((one, other) => order.indexOf(one.backend) - order.indexOf(other.backend));
    const lines = ordered.map((each) => [
      link(`backend/${each.backend}`, each.backend), each.variant,
      ...releases.map((release) => {
        const one = each.by[release];
        return one ? h("button", { class: "plain", onclick: () => detail(place, release, one) }, chip(one.verdict)) : "";
      }),
      brief((each.by[current()] || Object.values(each.by).at(-1)).message),
    ]);
    show(name,
      about ? h("p", {}, about.title) : h("p", {}, "This case is not in the catalogue that the site was made with."),
      about ? h("p", {}, "Clauses: ", about.clauses.map((each) => [link(`clause/${each}`, each), " "])) : null,
      about && about.source ? h("p", {}, "Source: ", external(about.source)) : null,
      table(["backend", "variant", ...releases, "message"], lines, "Verdicts; each opens what was seen"),
      place,
      await Promise.all(ofCase.map((section) => section(name))),
      about && about.yaml ? [h("h2", {}, "The case"), h("pre", {}, about.yaml)] : null,
      about ? [h("h2", {}, "The Python that is run"), h("pre", {}, about.python)] : null);
    const wanted = query().get("request");
    if (wanted) {
      const [release, backend, variant] = JSON.parse(wanted);
      const one = (history.get(`${backend} ${variant}`) || { by: {} }).by[release];
      if (one) await detail(place, release, one);
    }
  };

  const detail = async (place, release, one) => {
    const found = (await detailsOf(release, one.backend))[`${one.case} ${one.variant}`];
    const address = link(`case/${one.case}`, "link to this",
      { release: current(), request: JSON.stringify([release, one.backend, one.variant]) });
    if (!found) {
      place.replaceChildren(h("h2", {}, `${one.backend} on torch ${release}`), chip(one.verdict), " ", address,
        h("p", {}, one.message || "Every check held."));
      return;
    }
    const script = await scriptOf(release, one.backend, `${one.case} ${one.variant}`);
    const checks = (title, list) => list.length ? [h("h3", {}, title), list.map((check) => [
      h("h4", {}, check.check), table(["where", "what", "compiled", "uncompiled", "size"],
        check.differences.map((each) => [each.place, each.kind, each.actual, each.expected,
          each.max_abs === undefined ? "" : `max abs ${Number(each.max_abs).toPrecision(4)}, ${each.mismatched} of ${each.total}`])),
      check.more ? h("p", {}, `and ${check.more} more`) : null])] : [];
    place.replaceChildren(...[
      h("h2", {}, `${one.backend} on torch ${release}`), h("p", {}, chip(one.verdict), " ", address),
      h("p", { class: "note" }, found.message),
      found.reason ? h("p", {}, `Known: ${found.reason} `, found.issue ? external(found.issue) : "") : null,
      ...checks("What does not hold", found.broken), ...checks("Advisories", found.advisories),
      found.raised ? [h("h3", {}, "Traceback"), h("pre", {}, found.raised)] : null,
      h("h3", {}, "To see it again"), h("pre", {}, found.reproduce),
      h("p", {}, "As a script that needs torch alone: ", script
        ? h("button", { class: "script", onclick: () => download("repro.py", script) }, "Download repro.py") : null),
      h("pre", {}, found.script),
      h("h3", {}, "Evidence"), table(Object.keys(found.evidence).slice(0, 8), [Object.values(found.evidence).slice(0, 8).map(String)]),
    ].flat(Infinity).filter(Boolean));
    place.scrollIntoView({ block: "start" });
  };

  const clausePage = async (show, name) => {
    const release = current(), found = await rowsOf(release), places = filtered(found, `clause:${name}`);
    const counts = new Map(), cases = new Set();
    for (const place of places) {
      const one = row(found, place);
      cases.add(one.case);
      if (!counts.has(one.backend)) counts.set(one.backend, {});
      counts.get(one.backend)[one.verdict] = (counts.get(one.backend)[one.verdict] || 0) + 1;
    }
    const text = Object.hasOwn(data.meta.clauses, name) ? data.meta.clauses[name] : "The specification has no such clause.";
    show(name, h("p", {}, text),
      table(["backend", "conforming / scored"], [...counts].map(([backend, each]) =>
        [search(`backend:${backend} clause:${name}`, backend), score(tally(each))])),
      h("h2", {}, "Cases"), h("ul", {}, [...cases].sort().slice(0, MOST).map((each) => h("li", {}, link(`case/${each}`, each)))));
  };

  const clausesPage = async (show) => show("Clauses", h("dl", {}, Object.entries(data.meta.clauses).map(([name, text]) =>
    [h("dt", {}, link(`clause/${name}`, name)), h("dd", {}, text)])));

  const casesPage = async (show) => {
    const found = await rowsOf(current());
    show("Cases", h("ul", { class: "columns" }, [...found.words.case].sort().map((each) => h("li", {}, link(`case/${each}`, each)))));
  };

  const causePage = async (show, id) => {
    const release = current(), facts = data.meta.releases[release];
    const known = Object.hasOwn(facts.causes, id) ? facts.causes[id] : null;
    show(known ? known.words : id,
      known && known.issue ? h("p", {}, "Issue: ", external(known.issue)) : null,
      h("p", {}, search(`cause:${id}`, "Search within these requests")), await results(`cause:${id}`));
  };

  const releasePage = async (show, name) => {
    if (!Object.hasOwn(data.meta.releases, name)) return show(name, h("p", {}, "There are no records of this release."));
    const facts = data.meta.releases[name];
    return show(`torch ${name}`, table(["what", "value"], Object.entries(facts.environment).map(([key, value]) => [key, String(value)])));
  };

  const results = async (text) => {
    const found = await rowsOf(current()), began = performance.now(), places = filtered(found, text);
    const took = performance.now() - began, counts = {};
    for (const place of places) {
      const verdict = found.words.verdict[found.codes.verdict[place]];
      counts[verdict] = (counts[verdict] || 0) + 1;
    }
    const facets = h("p", { role: "status", id: "found", "data-count": places.length, "data-ms": took.toFixed(1) },
      `${places.length} of ${found.length} requests `, Object.entries(counts).map(([verdict, count]) =>
        [search(`${text} verdict:${verdict}`, `${count} ${verdict}`), " "]),
      places.length > MOST ? `(the first ${MOST} are shown; more words find fewer)` : "");
    const lines = places.slice(0, MOST).map((place) => row(found, place)).map((one) => [
      link(`case/${one.case}`, one.case, {
        release: current(), request: JSON.stringify([current(), one.backend, one.variant]),
      }),
      one.variant, link(`backend/${one.backend}`, one.backend), chip(one.verdict), one.check, brief(one.message),
    ]);
    return [facets, table(["case", "variant", "backend", "verdict", "check", "message"], lines, "Requests")];
  };

  const searchPage = async (show) => {
    const text = query().get("q") || "";
    const box = h("input", { type: "search", id: "q", value: text, "aria-describedby": "syntax", autocomplete: "off" });
    const form = h("form", { role: "search", onsubmit: (event) => {
      event.preventDefault();
      location.hash = `#/search?${new URLSearchParams({ q: box.value, release: current() })}`;
    } }, h("label", { for: "q" }, "Words and filters"), box, h("button", {}, "Search"));
    show("Search", form, h("p", { id: "syntax", class: "hint" },
      "Such as backend:inductor verdict:fail check:gradients; also area, case, variant, clause, cause. A minus excludes."),
      await results(text));
  };

  const comparePage = async (show) => {
    const names = Object.keys(data.meta.releases);
    const from = query().get("from") || names.at(-2) || names[0], to = query().get("to") || names.at(-1);
    const [older, newer] = [await rowsOf(from), await rowsOf(to)], before = new Map();
    for (let place = 0; place < older.length; place++) {
      const one = row(older, place);
      before.set(`${one.backend} ${one.case} ${one.variant}`, one);
    }
    const groups = { "No longer conforming": [], "Conforming now": [], "Another cause": [], "Another verdict": [] };
    const words = (release, cause) => (cause ? data.meta.releases[release].causes[cause].words : "");
    let fresh = 0, same = 0;
    for (let place = 0; place < newer.length; place++) {
      const now = row(newer, place), was = before.get(`${now.backend} ${now.case} ${now.variant}`);
      if (!was) { fresh++; continue; }
      const [then, is] = [data.meta.legend[was.verdict], data.meta.legend[now.verdict]];
      if (then.conforms && is.scored && !is.conforms) groups["No longer conforming"].push([was, now]);
      else if (!then.conforms && then.scored && is.conforms) groups["Conforming now"].push([was, now]);
      else if (was.verdict !== now.verdict) groups["Another verdict"].push([was, now]);
      else if (words(from, was.cause) !== words(to, now.cause)) groups["Another cause"].push([was, now]);
      else same++;
    }
    show("Compare", h("p", {}, chosen("from", names, from, "from"), " ", chosen("to", names, to, "to")),
      h("p", {}, `${same} requests as before, ${fresh} that ${from} does not have.`),
      Object.entries(groups).map(([title, pairs]) => [
        h("h2", {}, `${title}: ${pairs.length}`),
        pairs.length ? table(["case", "variant", "backend", "from", "to", "message"], pairs.slice(0, MOST).map(([was, now]) =>
          [link(`case/${now.case}`, now.case), now.variant, link(`backend/${now.backend}`, now.backend), chip(was.verdict),
            chip(now.verdict), brief(now.message || was.message)])) : null]),
      await Promise.all(ofCompare.map((section) => section(from, to))));
  };

  /* A file of the visitor's own, which stays in this browser. */

  const dropped = async (file) => {
    const lines = (await file.text()).split("\n"), codes = Object.fromEntries(KEYS.map((name) => [name, []]));
    const words = Object.fromEntries(KEYS.map((name) => [name, new Map()])), causes = {}, names = new Set();
    let environment = {}, refused = 0;
    for (const line of lines) {
      let one;
      try { one = JSON.parse(line); } catch { refused += line ? 1 : 0; continue; }
      if (one === null || typeof one !== "object") { refused++; continue; }
      if (one.kind === "header") environment = one.environment || {};
      if (one.kind !== "record" || !Object.hasOwn(data.meta.legend, one.verdict)) continue;
      const said = String(one.message || "").split("\n")[0], known = data.meta.legend[one.verdict];
      const reason = known.conforms || !known.scored ? "" : String((one.expectation || {}).reason || said || one.verdict);
      const cause = reason ? `own${[...reason].reduce((sum, each) => (sum * 31 + each.codePointAt(0)) >>> 0, 7).toString(16)}` : "";
      if (cause) causes[cause] = { words: reason, issue: String((one.expectation || {}).issue || "") };
      names.add(String(one.backend));
      const variant = String(one.variant);
      const made = {
        backend: String(one.backend), case: String(one.case_id), variant, verdict: one.verdict, cause, message: said.slice(0, 240),
        area: variant.includes("moves=") ? "moves" : String(one.case_id).split(".")[0],
        check: known.conforms || !known.scored ? "" : said.split(/[: ]/)[0],
        clauses: Array.isArray(one.clauses) ? one.clauses.join(" ") : "",
      };
      for (const name of KEYS) {
        if (!words[name].has(made[name])) words[name].set(made[name], words[name].size);
        codes[name].push(words[name].get(made[name]));
      }
    }
    if (!codes.case.length) throw new Error(`${file.name} holds no record of conformance run.`);
    const name = `${file.name} (yours)`;
    if (refused) environment = { ...environment, "lines that are no records": refused };
    const backends = Object.fromEntries([...names].map((each) => [each, { capabilities: [] }]));
    data.meta.releases[name] = { environment, backends, causes, file: "", details: {} };
    data.rows.set(name, {
      length: codes.case.length, codes: Object.fromEntries(KEYS.map((each) => [each, Uint32Array.from(codes[each])])),
      words: Object.fromEntries(KEYS.map((each) => [each, [...words[each].keys()]])),
    });
    releases(name);
    const address = `#/?${new URLSearchParams({ release: name })}`;
    if (location.hash === address) await route();
    location.hash = address;
  };

  const take = (file) => file && dropped(file).catch((error) =>
    pageOf(++visit)(file.name, h("p", { class: "note", role: "alert" }, String(error.message))));

  /* Routes. */

  const query = () => new URLSearchParams(location.hash.split("?")[1] || "");
  const current = () => {
    const names = Object.keys(data.meta.releases), wanted = query().get("release") || document.getElementById("release").value;
    return names.includes(wanted) ? wanted : names.at(-1);
  };
  const PAGES = {
    "": overview, search: searchPage, compare: comparePage, clauses: clausesPage, cases: casesPage,
    backend: backendPage, case: casePage, clause: clausePage, cause: causePage, release: releasePage,
  };

  /* Other scripts add pages, and sections of the pages of a case and of a comparison. */
  const ofCase = [], ofCompare = [];
  const extend = (make) => {
    const added = make({ data, load, h, link, table, chosen, query });
    Object.assign(PAGES, added.pages);
    ofCase.push(added.ofCase);
    ofCompare.push(added.ofCompare);
  };

  const route = async () => {
    const show = pageOf(++visit);
    try {
      const [kind, ...rest] = location.hash.replace(/^#\/?/, "").split("?")[0].split("/").map(decodeURIComponent);
      document.getElementById("release").value = current();
      if (Object.hasOwn(PAGES, kind)) await PAGES[kind](show, rest.join("/"));
      else show("No such page", h("p", {}, link("", "To the overview")));
    } catch (error) {
      show("This page cannot be shown", h("p", { role: "alert" }, String(error)));
    }
  };

  const releases = (chosen) => document.getElementById("release").replaceChildren(
    ...Object.keys(data.meta.releases).map((each) => h("option", { selected: each === chosen }, each)));

  const start = () => {
    releases(Object.keys(data.meta.releases).at(-1));
    document.getElementById("release").addEventListener("change", (event) => {
      const [path, words] = location.hash.split("?"), next = new URLSearchParams(words || "");
      next.set("release", event.target.value);
      location.hash = `${path || "#/"}?${next}`;
    });
    window.addEventListener("hashchange", route);
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      take(event.dataTransfer.files[0]);
    });
    document.getElementById("file").addEventListener("change", (event) => {
      take(event.target.files[0]);
      event.target.value = ""; // so that the same file can be chosen again
    });
    document.querySelector(".skip")?.addEventListener("click", (event) => {
      event.preventDefault();
      main().focus();
    });
    route();
  };

  return { put, extend };
})();
