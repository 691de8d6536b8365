"use strict";
/* The overview, and a page for each backend, case, clause, root cause and release. */
conformance.extend((tools) => {
  const {
    data, has, load, rowsOf, fileOf, caseOf, word, row, h, address, link, search, request, table, chip, plain, external, marked,
    tally, grouped, score, query, current, ofCase, filtered, results, MOST,
  } = tools;
  const SCOPE = 2; // chapters that say what an area is about
  const FIRST = 3; // root causes of each backend on the overview
  const percent = (one) => (one.scored ? `${((100 * one.conforming) / one.scored).toFixed(1)} %` : "-");
  const of = (backend) => `backend:"${backend}"`;
  const requests = (count) => (count === 1 ? "1 request" : `${count} requests`);

  /* Overview. */

  const overview = async (show) => {
    const release = current(), found = await rowsOf(release), facts = data.meta.releases[release];
    const cells = new Map(grouped(found, "area", "backend").map((each) => [`${each.area} ${each.backend}`, each]));
    const totals = new Map(grouped(found, "backend").map((each) => [each.backend, each]));
    const names = Object.keys(facts.backends).filter((name) => totals.has(name)), scopes = scopesOf(found);
    const lines = [...found.words.area].sort().map((area) => [
      [search(`area:${area}`, area), h("span", { class: "scope" }, scopes.get(area))],
      ...names.map((name) => score(cells.get(`${area} ${name}`), (text) => search(`${of(name)} area:${area}`, text))),
    ]);
    lines.push(["all", ...names.map((name) => score(totals.get(name), (text) => search(of(name), text)))]);
    lines.push(["share", ...names.map((name) => percent(totals.get(name)))]);
    lines.push(["not scored", ...names.map((name) => String(totals.get(name).all - totals.get(name).scored))]);
    const others = Object.entries(data.meta.latest || {}).filter(([name]) => !totals.has(name));
    show(`Results on torch ${release}`,
      h("p", {}, "Conforming requests of those that are scored, by area and backend; each cell leads to its requests. An empty cell "
        + "was not run, - is nothing scored. Where compiling takes long, nests of modes are sampled, so compare shares only where "
        + "the numbers of requests are alike. ", link("help", "How to read this"), "."),
      table(["area", ...names.map((name) => link(`backend/${name}`, name))], lines, "Conforming / scored"),
      others.length ? h("p", {}, "Run on other releases: ", others.map(([name, on]) =>
        [link(`backend/${name}`, name, { release: on }), ` (${on}) `])) : null,
      levelsTable(facts, names),
      h("h2", {}, "What stands between each backend and 100 %"),
      names.map((name) => [h("h3", {}, link(`backend/${name}`, name)), causesOf(found, facts, name, FIRST)]),
      h("p", {}, link(`release/${release}`, "On which machines, and with which versions")));
  };

  const reach = (level, everything) => {
    if (level.reached) return h("strong", {}, everything ? "reached" : "reached, not every capability");
    const missing = [level.invalid ? `${level.invalid} invalid` : "",
      level.chapters_without_a_scored_request.length ? `nothing scored of ${level.chapters_without_a_scored_request.join(", ")}` : ""];
    return [score(level), missing.filter(Boolean).join("; ")];
  };

  const levelsTable = (facts, names) => {
    const stated = names.filter((name) => has(facts.levels, name)).map((name) => [name, facts.levels[name]]);
    if (!stated.length) return null;
    return [h("h2", {}, "Levels"), table(["backend", ...stated[0][1].levels.map((each) => each.level)], stated.map(([name, one]) =>
      [link(`backend/${name}`, name), ...one.levels.map((each) => reach(each, one.claims_everything))]), "Conforming / scored of each level; a level is reached where all of it conforms")];
  };

  /* What the cases of an area are about: their number, and the chapters of the specification that most of them test. */
  const scopesOf = (found) => {
    const areas = new Map(), seen = new Set();
    for (let place = 0; place < found.length; place++) {
      const area = word(found, "area", place), key = `${area} ${found.codes.case[place]}`;
      if (seen.has(key)) continue;
      seen.add(key);
      if (!areas.has(area)) areas.set(area, { cases: 0, chapters: new Map() });
      const scope = areas.get(area), clauses = word(found, "clauses", place).split(" ").filter(Boolean);
      scope.cases++;
      for (const chapter of new Set(clauses.map((clause) => clause.split("-")[0]))) {
        scope.chapters.set(chapter, (scope.chapters.get(chapter) || 0) + 1);
      }
    }
    return new Map([...areas].map(([area, { cases, chapters }]) => [area, [cases === 1 ? "1 case" : `${cases} cases`,
      ...[...chapters].sort((one, other) => other[1] - one[1]).slice(0, SCOPE)
        .map(([each]) => (has(data.meta.chapters, each) ? data.meta.chapters[each] : each))].join(", ")]));
  };

  /* The root causes of a backend, most requests first, each with the checks that show it and the rung that shows it first. */
  const causesOf = (found, facts, backend, most) => {
    const causes = new Map();
    for (const place of filtered(found, of(backend))) {
      const cause = word(found, "cause", place);
      if (!cause) continue;
      if (!causes.has(cause)) causes.set(cause, { count: 0, checks: new Set(), first: new Set() });
      const one = causes.get(cause);
      one.count++;
      one.checks.add(word(found, "check", place) || word(found, "verdict", place));
      if (word(found, "first", place)) one.first.add(word(found, "first", place));
    }
    const ordered = [...causes].sort(([, one], [, other]) => other.count - one.count);
    if (!ordered.length) return h("p", {}, "Nothing.");
    return [
      h("ol", { class: "causes" }, ordered.slice(0, most).map(([cause, one]) => {
        const known = facts.causes[cause] || { words: cause, issue: "" };
        return h("li", {}, link(`cause/${cause}`, known.words), " ", search(`${of(backend)} cause:${cause}`, requests(one.count)),
          h("span", { class: "scope" }, [...one.checks].slice(0, 4).join(", "), one.checks.size > 4 ? ", ..." : "",
            one.first.size ? `; first seen in ${[...one.first].join(", ")}` : "",
            known.issue ? ["; ", external(known.issue)] : null));
      })),
      ordered.length > most ? h("p", {}, link(`backend/${backend}`, `and ${ordered.length - most} more`)) : null,
    ].filter(Boolean);
  };

  /* A backend. */

  const backendPage = async (show, name) => {
    const release = current(), found = await rowsOf(release), facts = data.meta.releases[release];
    const own = Object.keys(data.meta.releases).filter((each) => has(data.meta.releases[each].backends, name));
    if (!own.length) return show("No such backend", h("p", {}, `There are no records of ${name}.`));
    if (!own.includes(release)) {
      return show(name, h("p", {}, `It was not run on torch ${release}; it was on `,
        own.map((each) => [link(`backend/${name}`, each, { release: each }), " "])));
    }
    const info = facts.backends[name];
    const lines = grouped(found, "area", "backend").filter((each) => each.backend === name)
      .sort((one, other) => one.area.localeCompare(other.area))
      .map((each) => [search(`${of(name)} area:${each.area}`, each.area), score(each),
        search(`${of(name)} area:${each.area} -verdict:pass`, Object.entries(each.counts)
          .filter(([verdict]) => verdict !== "pass").map(([verdict, count]) => `${count} ${verdict}`).join(", ") || "-")]);
    return show(name, h("p", {}, [info.description, `run on torch ${release}`].filter(Boolean).join("; ")),
      info.unavailable ? h("p", { class: "note" }, `It could not be used here: ${info.unavailable}`) : null,
      levelsOf(facts, name),
      h("h2", {}, "Root causes, most requests first"),
      h("p", {}, "Below each, the checks that show it, and the first backend of the ladder that shows the same; ",
        search(`${of(name)} first:"${name}"`, "what no backend before it shows"), "."),
      causesOf(found, facts, name, Infinity),
      h("h2", {}, "By area"), table(["area", "conforming / scored", "everything else"], lines),
      advisoriesOf(found, name),
      h("h2", {}, "What it does not claim"),
      h("p", {}, (info.not_claimed || []).join(", ") || "It claims everything.",
        (info.not_claimed || []).length ? [". ", search(`${of(name)} verdict:unsupported`, "Requests that need it"), " are not scored."] : null));
  };

  const advisoriesOf = (found, name) => {
    const counts = new Map();
    for (const place of filtered(found, of(name))) {
      for (const each of word(found, "advisory", place).split(" ").filter(Boolean)) counts.set(each, (counts.get(each) || 0) + 1);
    }
    return counts.size ? [h("h2", {}, "Advisories"), h("p", {}, "What the specification does not demand, or the backend does not claim: ",
      [...counts].sort().map(([check, count]) => [search(`${of(name)} advisory:${check}`, `${check} ${count}`), " "]))] : null;
  };

  const levelsOf = (facts, name) => {
    if (!has(facts.levels, name)) return null;
    const { levels, statement, claims_everything: everything } = facts.levels[name];
    return [h("h2", {}, "Levels"),
      table(["level", "conforming / scored", "badge", "for shields.io"], levels.map((each) => [
        each.level, reach(each, everything), h("img", { src: `${each.badge}.svg`, alt: `badge of ${each.level}` }),
        h("a", { href: `${each.badge}.json` }, `${each.badge}.json`)]), "Levels of the specification"),
      h("p", {}, h("a", { href: statement, download: true }, "The statement"),
        ", which conformance verify holds against the records.")];
  };

  /* A case. */

  const casePage = async (show, name) => {
    const about = await caseOf(name), history = new Map(), releases = Object.keys(data.meta.releases);
    for (const release of releases) {
      const found = await rowsOf(release), code = found.words.case.indexOf(name);
      for (let place = 0; place < found.length && code >= 0; place++) {
        if (found.codes.case[place] !== code) continue;
        const one = row(found, place), key = `${one.backend} ${one.variant}`;
        if (!history.has(key)) history.set(key, { backend: one.backend, variant: one.variant, by: new Map() });
        history.get(key).by.set(release, one);
      }
    }
    if (!about && !history.size) return show("No such case", h("p", {}, `There are no records of ${name}.`));
    const place = h("div", { class: "detail" }), shown = releases.filter((each) => [...history.values()].some(({ by }) => by.has(each)));
    const order = [...releases].reverse().flatMap((release) => Object.keys(data.meta.releases[release].backends));
    const ordered = [...history.values()].sort((one, other) => order.indexOf(one.backend) - order.indexOf(other.backend));
    const lines = ordered.map((each) => ({
      cells: [link(`backend/${each.backend}`, each.backend), plain(each.variant), ...shown.map((release) => {
        const one = each.by.get(release);
        return one ? h("button", {
          class: "plain", "aria-label": `${one.verdict}: ${each.backend}, ${plain(each.variant)}, torch ${release}`,
          onclick: () => opened(place, release, one),
        }, chip(one.verdict)) : "";
      })],
      said: (each.by.get(current()) || [...each.by.values()].at(-1)).message,
    }));
    show(name,
      about ? h("p", {}, about.title) : h("p", {}, "This case is not in the catalogue that the site was made with."),
      about ? h("p", {}, "Clauses: ", about.clauses.map((each) => [link(`clause/${each}`, each), " "])) : null,
      about && about.source ? h("p", {}, "Source: ", external(about.source)) : null,
      table(["backend", "variant", ...shown], lines, "Verdicts by release; each opens what was seen"),
      place,
      await Promise.all(ofCase.map((section) => section(name))),
      about && about.yaml ? [h("h2", {}, "The case"), h("pre", {}, about.yaml)] : null,
      about ? [h("h2", {}, "The Python that is run"), h("pre", {}, about.python)] : null);
    const wanted = query().get("request");
    if (!wanted) return;
    const [release, backend, variant] = JSON.parse(wanted), one = history.get(`${backend} ${variant}`)?.by.get(release);
    if (one) await detail(place, release, one);
  };

  const opened = async (place, release, one) => {
    const at = address(`case/${one.case}`, { release: current(), request: JSON.stringify([release, one.backend, one.variant]) });
    window.history.replaceState(null, "", at);
    await detail(place, release, one);
  };

  const download = (name, text) => {
    const made = h("a", { href: URL.createObjectURL(new Blob([text], { type: "text/plain" })), download: name });
    made.click();
    URL.revokeObjectURL(made.href);
  };

  const checksOf = (title, list) => (list.length ? [h("h3", {}, title), list.map((check) => [
    h("h4", {}, check.check), table(["where", "what", "compiled", "uncompiled", "size"],
      check.differences.map((each) => [each.place, each.kind, each.actual, each.expected, each.max_abs === undefined ? ""
        : `max abs ${Number(each.max_abs).toPrecision(4)}, ${each.mismatched} of ${each.total}`])),
    check.more ? h("p", {}, `and ${check.more} more`) : null])] : []);

  const detail = async (place, release, one) => {
    const name = `${one.case} ${one.variant}`, found = (await fileOf("details", release, one.backend))[name];
    const scripts = await fileOf("scripts", release, one.backend), script = has(scripts.of, name) ? scripts.texts[scripts.of[name]] : null;
    const cause = has(data.meta.releases[release].causes, one.cause) ? data.meta.releases[release].causes[one.cause] : null;
    const title = h("h2", { tabindex: "-1" }, `${one.backend} on torch ${release}, ${plain(one.variant)}`);
    place.replaceChildren(...[
      title, h("p", {}, chip(one.verdict), " ", request(release, one, "link to this")),
      h("p", { class: found ? "note" : "" }, found ? found.message : one.message || "Every check held."),
      cause ? h("p", {}, "Cause: ", link(`cause/${one.cause}`, cause.words), " ", cause.issue ? external(cause.issue) : "") : null,
      found ? [
        ...checksOf("What does not hold", found.broken), ...checksOf("Advisories", found.advisories),
        found.raised ? [h("h3", {}, "Traceback"), h("pre", {}, found.raised)] : null,
        h("h3", {}, "To see it again"), h("pre", {}, found.reproduce),
        script ? [h("p", {}, "As a script that needs torch alone: ", h("button", {
          class: "script", onclick: () => download(`repro-${one.backend}-${one.case}.py`.replace(/[^\w.-]/g, "_"), script),
        }, "Download it")), h("pre", {}, found.script)] : null,
        h("h3", {}, "Evidence"), table(Object.keys(found.evidence).slice(0, 8), [Object.values(found.evidence).slice(0, 8).map(String)]),
      ] : null,
    ].flat(Infinity).filter(Boolean));
    place.scrollIntoView({ block: "start" });
    title.focus({ preventScroll: true });
  };

  const casesPage = async (show) => {
    await Promise.all(data.meta.areas.map((area) => load(`data/cases/${area}.js`)));
    const found = await rowsOf(current()), areas = new Map();
    for (const name of [...found.words.case].sort()) {
      const area = name.split(".")[0];
      areas.set(area, [...(areas.get(area) || []), name]);
    }
    show("Cases", [...areas].map(([area, names]) => [h("h2", {}, area), h("dl", {}, names.map((name) => {
      const known = data.cases.get(area);
      return [h("dt", {}, link(`case/${name}`, name)), h("dd", {}, has(known, name) ? known[name].title : "")];
    }))]));
  };

  /* Clauses, root causes, releases. */

  const clausePage = async (show, name) => {
    const found = await rowsOf(current()), places = filtered(found, `clause:${name}`), backends = new Map(), cases = new Map();
    for (const place of places) {
      const one = row(found, place), seen = cases.get(one.case) || new Map();
      for (const [counts, key] of [[backends, one.backend], [seen, one.backend]]) {
        if (!counts.has(key)) counts.set(key, {});
        counts.get(key)[one.verdict] = (counts.get(key)[one.verdict] || 0) + 1;
      }
      cases.set(one.case, seen);
    }
    if (!has(data.meta.clauses, name)) return show("No such clause", h("p", {}, `The specification has no clause ${name}.`));
    const names = [...backends.keys()], summed = (counts) => (counts ? tally(counts) : null);
    return show(name, h("p", {}, marked(data.meta.clauses[name])),
      table(["case", ...names], [
        ["all", ...names.map((each) => score(summed(backends.get(each)), (text) => search(`${of(each)} clause:${name}`, text)))],
        ...[...cases].sort(([one], [other]) => one.localeCompare(other)).slice(0, MOST).map(([each, seen]) =>
          [link(`case/${each}`, each), ...names.map((backend) => score(summed(seen.get(backend))))]),
      ], "Conforming / scored"));
  };

  const clausesPage = async (show) => {
    const chapters = Map.groupBy(Object.entries(data.meta.clauses), ([name]) => name.split("-")[0]);
    show("Clauses", [...chapters].map(([chapter, clauses]) => [h("h2", {}, `${chapter}: ${data.meta.chapters[chapter] || ""}`),
      h("dl", {}, clauses.map(([name, text]) => [h("dt", {}, link(`clause/${name}`, name)), h("dd", {}, marked(text))]))]));
  };

  const causePage = async (show, id) => {
    const { causes } = data.meta.releases[current()];
    if (!has(causes, id)) return show("No such root cause", h("p", {}, `Nothing on torch ${current()} has it.`));
    const { words, issue } = causes[id];
    return show(words, issue ? h("p", {}, "Issue: ", external(issue)) : null,
      h("p", {}, search(`cause:${id}`, "Search within these requests")), await results(`cause:${id}`));
  };

  const releasePage = async (show, name) => {
    if (!has(data.meta.releases, name)) return show("No such release", h("p", {}, `There are no records of torch ${name}.`));
    const { backends } = data.meta.releases[name], fact = (info, key) => String((info.environment || {})[key] || "");
    return show(`torch ${name}`, h("p", {}, "Where and when each backend was run. Results of two suites (of cases and checks of "
      + "different versions) are not quite comparable."),
    table(["backend", "packages", "CPU", "threads", "platform", "Python", "compiler", "suite", "started"], Object.entries(backends)
      .map(([backend, info]) => [link(`backend/${backend}`, backend, { release: name }),
        Object.entries(info.packages || {}).map((each) => each.join(" ")).join(", "),
        ...["cpu", "threads", "platform", "python", "compiler", "suite_hash", "started"].map((key) => fact(info, key))]), "Environments"));
  };

  /* Words. */

  const WORDS = {
    case: "A small program in YAML, with its inputs and calls. Cases of one subject are an area.",
    request: "One case, in one variant, on one backend: what is run, in a process of its own, and what gets a verdict.",
    variant: "The mode around the call, dtype and the like; plain is the default. With moves=usual the caller does, after the calls of the "
      + "case, what callers do: backward twice, hooks, second derivatives, other inputs. The area moves has these.",
    uncompiled: "The same program without torch.compile, which says what is right.",
    scored: "What counts: not what needs a capability that the backend does not claim, nor what cannot be run on the machine.",
    conforming: "Scored, and every check that the specification demands held.",
    known: "xfail does not conform. It is a known failure, listed in the backend's expectations with its reason, so that only what is new is red.",
    advisory: "What differs and is not demanded, or needs what the backend does not claim.",
    "root cause": "The reason of a known failure or, of a new one, its symptom.",
    "first seen in": "The first backend of the ladder eager, pre_dispatch_eager, aot_eager, aot_eager_decomp_partition, inductor from which on "
      + "all show the same failure: Dynamo, tracing, AOTAutograd, decompositions and partitioner, code generation.",
    "attributed to": "Whose fault a failure is, by controls: inherited (a rung below shows it), harness (memory used again, or a fallback), "
      + "mode (it is gone without modes), backward (gone without backward), base (neither), undecided; empty where no controls were run.",
    level: "Chapters of the specification that a backend conforms to altogether.",
  };

  const helpPage = async (show) => show("How to read this",
    h("dl", {}, Object.entries(WORDS).map(([name, text]) => [h("dt", {}, name), h("dd", {}, text)])),
    h("h2", {}, "Verdicts"), table(["verdict", "means", "scored", "conforms"], Object.entries(data.meta.legend).map(([name, each]) =>
      [chip(name), each.means, each.scored ? "yes" : "no", each.conforms ? "yes" : "no"])),
    h("p", {}, "The clauses are of ", link("clauses", "the specification"), "."));

  return {
    pages: {
      "": overview, backend: backendPage, case: casePage, cases: casesPage, clause: clausePage, clauses: clausesPage,
      cause: causePage, release: releasePage, help: helpPage,
    },
  };
});
