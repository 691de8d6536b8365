"use strict";
/* A file of the visitor's own, which stays in this browser: a release beside the others. */
conformance.extend(({ data, h, route, releases, alone }) => {
  const KEYS = ["backend", "case", "variant", "area", "verdict", "check", "cause", "first", "attribution",
    "advisory", "clauses", "message"];
  const MOST = 240; // characters of a message

  /* A short name of a root cause: a sum over its characters. */
  const sum = (text) => `own${[...text].reduce((made, each) => (made * 31 + each.codePointAt(0)) >>> 0, 7).toString(16)}`;

  const rowOf = (one, causes) => {
    const said = String(one.message || "").split("\n")[0], known = data.meta.legend[one.verdict], variant = String(one.variant);
    const conforms = known.conforms || !known.scored, expectation = one.expectation || {};
    const words = conforms ? "" : String((one.verdict === "xfail" && expectation.reason) || said || one.verdict), cause = words ? sum(words) : "";
    if (cause) causes[cause] = { words, issue: String(expectation.issue || "") };
    return {
      backend: String(one.backend), case: String(one.case_id), variant, verdict: one.verdict, cause, first: "", advisory: "",
      attribution: String((one.attribution || {}).cause || ""),
      message: said.slice(0, MOST), area: variant.includes("moves=") ? "moves" : String(one.case_id).split(".")[0],
      check: conforms ? "" : said.split(/[: ]/)[0], clauses: Array.isArray(one.clauses) ? one.clauses.join(" ") : "",
    };
  };

  const read = (text) => {
    const codes = Object.fromEntries(KEYS.map((name) => [name, []])), words = Object.fromEntries(KEYS.map((name) => [name, new Map()]));
    const causes = {};
    let environment = {}, refused = 0;
    for (const line of text.split("\n")) {
      let one = null;
      try { one = JSON.parse(line); } catch { refused += line ? 1 : 0; }
      if (one === null || typeof one !== "object") continue;
      if (one.kind === "header") environment = one.environment || {};
      if (one.kind !== "record" || !Object.hasOwn(data.meta.legend, one.verdict)) continue;
      const made = rowOf(one, causes);
      for (const name of KEYS) {
        if (!words[name].has(made[name])) words[name].set(made[name], words[name].size);
        codes[name].push(words[name].get(made[name]));
      }
    }
    const columns = Object.fromEntries(KEYS.map((name) => [name, [...words[name].keys()]]));
    const rows = { length: codes.case.length, words: columns, codes: Object.fromEntries(KEYS.map((name) => [name, Uint32Array.from(codes[name])])) };
    return { rows, causes, environment: refused ? { ...environment, compiler: `${refused} lines were no records` } : environment };
  };

  const dropped = async (file) => {
    const { rows, causes, environment } = read(await file.text());
    if (!rows.length) throw new Error(`${file.name} holds no record of conformance run.`);
    const name = `${file.name} (yours)`, backends = Object.fromEntries(rows.words.backend.map((each) => [each, { environment }]));
    data.meta.releases[name] = { backends, causes, file: "", details: {}, scripts: {}, levels: {} };
    data.rows.set(name, rows);
    releases(name);
    const address = `#/?${new URLSearchParams({ release: name })}`;
    if (location.hash === address) await route();
    location.hash = address;
  };

  const take = (file) => file && dropped(file).catch((error) => alone(file.name, h("p", { class: "note", role: "alert" }, String(error.message))));

  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
  document.getElementById("file").addEventListener("change", (event) => {
    take(event.target.files[0]);
    event.target.value = ""; // so that the same file can be chosen again
  });
  return { pages: {} };
});
