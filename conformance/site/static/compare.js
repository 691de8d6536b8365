"use strict";
/* Two releases, or a visitor's own records and a release. */
conformance.extend(({ data, has, rowsOf, row, h, link, request, table, chip, plain, chosen, query, ofCompare, MOST }) => {
  const BETTER = "Conforming now", WORSE = "No longer conforming", CAUSE = "Another cause", VERDICT = "Another verdict";

  const suites = (release, names) => new Set(names.map((name) => (data.meta.releases[release].backends[name].environment || {}).suite_hash));
  const words = (release, cause) => (has(data.meta.releases[release].causes, cause) ? data.meta.releases[release].causes[cause].words : "");

  /* The pairs of requests that both have, by what became of them. */
  const paired = (older, newer, same) => {
    const before = new Map(), groups = { [WORSE]: [], [BETTER]: [], [CAUSE]: [], [VERDICT]: [] };
    const counts = { same: 0, fresh: 0, gone: 0 };
    for (let place = 0; place < older.length; place++) {
      const one = row(older, place);
      before.set(`${one.backend} ${one.case} ${one.variant}`, one);
    }
    for (let place = 0; place < newer.length; place++) {
      const now = row(newer, place), key = `${now.backend} ${now.case} ${now.variant}`, was = before.get(key);
      if (!was) { counts.fresh++; continue; }
      before.delete(key);
      const [then, is] = [data.meta.legend[was.verdict], data.meta.legend[now.verdict]];
      if (then.conforms && is.scored && !is.conforms) groups[WORSE].push([was, now]);
      else if (!then.conforms && then.scored && is.conforms) groups[BETTER].push([was, now]);
      else if (was.verdict !== now.verdict) groups[VERDICT].push([was, now]);
      else if (!same(was, now)) groups[CAUSE].push([was, now]);
      else counts.same++;
    }
    counts.gone = before.size;
    return { groups, counts };
  };

  /* One heading a cause, most requests first. */
  const byCause = (title, pairs, from, to) => {
    const cause = ([was, now]) => (title === BETTER ? words(from, was.cause) : words(to, now.cause)) || now.message || "no cause is known";
    const causes = [...Map.groupBy(pairs, cause)].sort(([, one], [, other]) => other.length - one.length);
    return causes.map(([text, all]) => h("details", {}, h("summary", {}, `${all.length}: ${text}`),
      table(["case", "variant", "backend", from, to], all.slice(0, MOST).map(([was, now]) => ({
        cells: [request(to, now), plain(now.variant), link(`backend/${now.backend}`, now.backend, { release: to }), chip(was.verdict), chip(now.verdict)],
        said: title === CAUSE ? `before: ${words(from, was.cause) || was.message}` : title === BETTER ? `before: ${was.message}` : now.message,
      })), title)));
  };

  const page = async (show) => {
    const names = Object.keys(data.meta.releases);
    const from = query().get("from") || names.at(-2) || names[0], to = query().get("to") || names.at(-1);
    if (!names.includes(from) || !names.includes(to)) return show("Compare", h("p", {}, `There are records of ${names.join(", ")} only.`));
    // What a visitor's file says of itself is a message, where the site has a symptom: the check is what both have.
    const isOwn = [from, to].some((name) => !data.meta.releases[name].file);
    const [older, newer] = [await rowsOf(from), await rowsOf(to)];
    const { groups, counts } = paired(older, newer, (was, now) =>
      words(from, was.cause) === words(to, now.cause) || (isOwn && was.check === now.check));
    const shared = newer.words.backend.filter((name) => older.words.backend.includes(name));
    const apart = [[older, newer, to], [newer, older, from]].map(([one, other, release]) =>
      [one.words.backend.filter((name) => !other.words.backend.includes(name)), release]).filter(([found]) => found.length);
    const differ = new Set([...suites(from, shared), ...suites(to, shared)]).size > 1;
    const of = (title, name) => groups[title].filter(([, now]) => now.backend === name).length;
    return show("Compare", h("p", {}, chosen("from", names, from, "from"), " ", chosen("to", names, to, "to")),
      differ ? h("p", { class: "note" }, "These were run with different versions of the suite: a change may be one of its cases or checks.") : null,
      h("p", {}, `${counts.same} requests as before, ${counts.fresh} that ${from} does not have, ${counts.gone} that ${to} does not have.`),
      apart.map(([found, release]) => h("p", {}, `Not run on ${release}: ${found.join(", ")}.`)),
      shared.length ? table(["backend", WORSE, BETTER, CAUSE, VERDICT], shared.map((name) =>
        [link(`backend/${name}`, name, { release: to }), ...[WORSE, BETTER, CAUSE, VERDICT].map((title) => String(of(title, name)))])) : null,
      Object.entries(groups).map(([title, pairs]) => [h("h2", {}, `${title}: ${pairs.length}`), byCause(title, pairs, from, to)]),
      await Promise.all(ofCompare.map((section) => section(from, to))));
  };

  return { pages: { compare: page } };
});
