"use strict";
/* Search: words, and `key:value` or `-key:value`. All must hold; of several values of one key, one. */
conformance.extend(({ has, rowsOf, word, row, h, link, search, request, table, chip, plain, tally, query, current }) => {
  const MOST = 500; // rows of a table that are drawn at once
  const KEYS = ["backend", "case", "variant", "area", "verdict", "check", "clause", "cause", "first", "attribution", "advisory"];
  const EXACT = ["backend", "verdict", "area", "cause", "first", "attribution"];
  const LISTS = { clause: "clauses", advisory: "advisory" }; // columns of words
  const FEW = 20;

  const parsed = (text) => [...text.matchAll(/(-?)(?:([A-Za-z]+):)?("[^"]*"|\S+)/g)].map(([, minus, key, value]) => ({
    key: (key || "").toLowerCase(), not: Boolean(minus), value: value.replaceAll('"', "").toLowerCase(),
  }));

  const holds = (key, value) => (key in LISTS ? (text) => text.split(" ").includes(value)
    : EXACT.includes(key) ? (text) => text === value : (text) => text.includes(value));

  const masks = (found, one) => {
    const names = one.key ? [LISTS[one.key] || one.key] : ["case", "message"], test = holds(one.key, one.value);
    return names.filter((name) => has(found.words, name)).map((name) =>
      [found.codes[name], Uint8Array.from(found.words[name], (each) => (test(each.toLowerCase()) ? 1 : 0))]);
  };

  /* Conditions, each a list of masks of which one must hold: values of one key are alternatives, words are not. */
  const conditions = (found, text) => {
    const made = new Map();
    parsed(text).forEach((one, place) => {
      const name = one.key && !one.not ? one.key : `${one.key} ${place}`;
      if (!made.has(name)) made.set(name, { not: one.not, masks: [] });
      made.get(name).masks.push(...masks(found, one));
    });
    return [...made.values()];
  };

  const filtered = (found, text) => {
    const tests = conditions(found, text), places = [];
    for (let place = 0; place < found.length; place++) {
      let all = true;
      for (const { not, masks: each } of tests) {
        let any = false;
        for (const [codes, mask] of each) if (mask[codes[place]]) { any = true; break; }
        if (any === not) { all = false; break; }
      }
      if (all) places.push(place);
    }
    return places;
  };

  /* A search without its verdicts, to choose one of them. */
  const without = (text) => text.replace(/(^|\s)verdict:\S+/gi, "").trim();

  /* What is wrong with a search that finds nothing. */
  const advice = (found, text) => parsed(text).flatMap((one) => {
    if (one.key && !KEYS.includes(one.key)) return [`There is no filter ${one.key}; there are ${KEYS.join(", ")}.`];
    const any = masks(found, one).some(([, mask]) => mask.includes(1));
    if (any || one.not) return [];
    const known = one.key ? [...new Set(found.words[LISTS[one.key] || one.key].flatMap((each) =>
      (one.key in LISTS ? each.split(" ") : [each])))].filter(Boolean).sort() : [];
    const some = known.length > FEW ? `${known.slice(0, FEW).join(", ")}, ...` : known.join(", ");
    return [`Nothing has ${one.key ? `${one.key}:` : ""}${one.value}${known.length ? `; there are ${some}` : ""}.`];
  });

  const results = async (text) => {
    const found = await rowsOf(current()), began = performance.now(), places = filtered(found, text);
    const took = performance.now() - began, counts = {};
    for (const place of places) counts[word(found, "verdict", place)] = (counts[word(found, "verdict", place)] || 0) + 1;
    const { conforming, scored } = tally(counts);
    const facets = h("p", { role: "status", id: "found", "data-count": places.length, "data-ms": took.toFixed(1) },
      `${places.length} of ${found.length} requests${scored ? `, ${conforming} of ${scored} conform` : ""}: `,
      Object.entries(counts).map(([verdict, count]) => [search(`${without(text)} verdict:${verdict}`.trim(), `${count} ${verdict}`), " "]),
      places.length > MOST ? `(the first ${MOST} are shown; more words find fewer)` : "");
    if (!places.length) return [facets, h("ul", {}, advice(found, text).map((each) => h("li", {}, each)))];
    const lines = places.slice(0, MOST).map((place) => row(found, place)).map((one) => ({
      cells: [request(current(), one), plain(one.variant), link(`backend/${one.backend}`, one.backend), chip(one.verdict), one.check,
        one.first && one.first !== one.backend ? one.first : "", one.attribution],
      said: one.message,
    }));
    return [facets, table(["case", "variant", "backend", "verdict", "check", "first seen in", "attributed to"], lines, "Requests")];
  };

  const page = async (show) => {
    const text = query().get("q") || "";
    const box = h("input", { type: "search", id: "q", value: text, "aria-describedby": "syntax", autocomplete: "off" });
    const form = h("form", { role: "search", onsubmit: (event) => {
      event.preventDefault();
      location.hash = `#/search?${new URLSearchParams({ q: box.value, release: current() })}`;
    } }, h("label", { for: "q" }, "Words and filters"), box, h("button", {}, "Search"));
    show("Search", form, h("p", { id: "syntax", class: "hint" },
      "Such as ", search("backend:inductor verdict:xfail check:gradients", "backend:inductor verdict:xfail check:gradients"),
      `; filters are ${KEYS.join(", ")}. All must hold, of several values of one filter one; a minus excludes.`),
    await results(text));
  };

  return { pages: { search: page }, MOST, filtered, results };
});
