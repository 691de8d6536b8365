"use strict";
/* The site's application: everything is drawn from the records in `data/`, which are loaded as scripts so that the
   pages work from a file too. Text of records only ever becomes a text node. The other scripts add pages to it. */
const conformance = (() => {
  const data = {
    meta: null, rows: new Map(), details: new Map(), cases: new Map(), scripts: new Map(), timings: new Map(),
  };
  const pending = new Map();
  const has = (object, name) => Object.hasOwn(object || {}, name);
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

  const fileOf = async (kind, release, backend) => {
    const files = data.meta.releases[release][kind], name = `${release} ${backend}`;
    if (!data[kind].has(name) && has(files, backend)) await load(files[backend]);
    return data[kind].get(name) || {};
  };

  const caseOf = async (name) => {
    const area = name.split(".")[0];
    if (!data.cases.has(area) && data.meta.areas.includes(area)) await load(`data/cases/${area}.js`);
    const found = data.cases.get(area);
    return has(found, name) ? found[name] : null;
  };

  const word = (table, name, place) => table.words[name][table.codes[name][place]];
  const row = (table, place) => Object.fromEntries(Object.keys(table.words).map((name) => [name, word(table, name, place)]));

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

  const address = (path, query = {}) => {
    const words = new URLSearchParams(query).toString();
    return `#/${path.split("/").map(encodeURIComponent).join("/")}${words ? `?${words}` : ""}`;
  };
  const link = (path, text = path, query = {}) => h("a", { href: address(path, query) }, text);
  const search = (q, text) => link("search", text, { q, release: current() });
  const request = (release, one, text = one.case) =>
    link(`case/${one.case}`, text, { release, request: JSON.stringify([release, one.backend, one.variant]) });

  /* A line is a list of cells, or `{ cells, said }`: what is said stands below them, as wide as the table. */
  const table = (heads, lines, caption = "") =>
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption || heads.map((each) =>
      (each.nodeType ? each.textContent : each)).join(", ") },
    h("table", {},
      caption ? h("caption", {}, caption) : null,
      h("thead", {}, h("tr", {}, heads.map((each) => h("th", { scope: "col" }, each)))),
      h("tbody", {}, lines.map((line) => {
        const cells = line.cells || line;
        return [h("tr", {}, cells.map((each, place) => h(place ? "td" : "th", place ? {} : { scope: "row" }, each))),
          line.said ? h("tr", { class: "said" }, h("td", { colspan: heads.length }, line.said)) : null];
      }))));

  const chip = (verdict) =>
    h("span", { class: `chip ${verdict}`, title: has(data.meta.legend, verdict) ? data.meta.legend[verdict].means : "" }, verdict);

  const plain = (variant) => variant.split(",").filter((part) => part !== "grad=enabled").join(", ") || "plain";

  const external = (place) => (/^https:\/\//.test(place) ? h("a", { href: place, rel: "noreferrer" }, place)
    : place.startsWith("none found") ? `no issue was found${place.includes(":") ? ` (searched for:${place.split(":").slice(1).join(":")})` : ""}`
      : place);

  /* Code, emphasis and links of the text of a clause. */
  const MARKS = /`([^`]+)`|\*\*([^*]+)\*\*|\*([^*]+)\*|\[([^\]]+)\]\(([^)]+)\)|[^`*[]+|./g;
  const marked = (text) => [...text.matchAll(MARKS)].map(([whole, code, strong, emphasis, words, place]) => {
    if (code) return h("code", {}, code);
    if (strong || emphasis) return h(strong ? "strong" : "em", {}, marked(strong || emphasis));
    if (words) return /^https:/.test(place) ? h("a", { href: place, rel: "noreferrer" }, marked(words)) : marked(words);
    return whole;
  });

  const chosen = (label, options, value, key) => h("label", {}, label, " ", h("select", { onchange: (event) => {
    const [path, words] = location.hash.split("?"), next = new URLSearchParams(words || "");
    next.set(key, event.target.value);
    location.hash = `${path}?${next}`;
  } }, options.map((each) => h("option", { selected: each === value }, each))));

  let visit = 0; // counts navigations: a page that was waited for must not replace a later one
  let followed = false; // a link, and not back or forward, where the browser restores the place
  const pageOf = (mine) => (title, ...children) => {
    if (mine !== visit) return;
    document.title = `${title} - torch.compile conformance`;
    main().replaceChildren(h("h1", {}, title), ...children.flat(Infinity).filter(Boolean));
    if (mine > 1) main().focus({ preventScroll: true });
    if (followed) window.scrollTo(0, 0);
    followed = false;
    document.body.dataset.ready = location.hash;
  };

  /* Counting. */

  const tally = (counts) => {
    let conforming = 0, scored = 0, all = 0;
    for (const [verdict, count] of Object.entries(counts)) {
      const known = data.meta.legend[verdict];
      all += count;
      if (known.conforms) conforming += count;
      if (known.scored) scored += count;
    }
    return { conforming, scored, all };
  };

  const grouped = (found, ...names) => {
    const groups = new Map();
    for (let place = 0; place < found.length; place++) {
      const key = names.map((name) => found.codes[name][place]).join(" "), verdict = word(found, "verdict", place);
      if (!groups.has(key)) groups.set(key, { place, counts: {} });
      const counts = groups.get(key).counts;
      counts[verdict] = (counts[verdict] || 0) + 1;
    }
    return [...groups.values()].map((each) => ({
      ...Object.fromEntries(names.map((name) => [name, word(found, name, each.place)])), ...tally(each.counts), counts: each.counts,
    }));
  };

  /* Conforming of scored, on a ground that says how much that is. */
  const score = (one, text = (each) => each) => {
    if (!one || !one.scored) return h("span", { class: "share none" }, one ? "-" : "");
    const share = one.conforming / one.scored;
    const made = h("span", { class: "share", title: `${(100 * share).toFixed(1)} %` }, text(`${one.conforming}/${one.scored}`));
    made.style.setProperty("--share", `${Math.max(0, Math.round(200 * share - 100))}%`); // half is as bad as nothing
    return made;
  };

  /* Routes. */

  const PAGES = {}, ofCase = [], ofCompare = [];
  const query = () => new URLSearchParams(location.hash.split("?")[1] || "");
  const current = () => {
    const names = Object.keys(data.meta.releases), wanted = query().get("release") || document.getElementById("release").value;
    return names.includes(wanted) ? wanted : names.at(-1);
  };

  const route = async () => {
    const show = pageOf(++visit);
    try {
      const [kind, ...rest] = location.hash.replace(/^#\/?/, "").split("?")[0].split("/").map(decodeURIComponent);
      document.getElementById("release").value = current();
      if (has(PAGES, kind)) await PAGES[kind](show, rest.join("/"));
      else show("No such page", h("p", {}, link("", "To the overview")));
    } catch (error) {
      show("This page cannot be shown", h("p", { role: "alert" }, String(error)));
    }
  };

  const releases = (name) => document.getElementById("release").replaceChildren(
    ...Object.keys(data.meta.releases).map((each) => h("option", { selected: each === name }, each)));

  const start = () => {
    releases(Object.keys(data.meta.releases).at(-1));
    document.getElementById("release").addEventListener("change", (event) => {
      const [path, words] = location.hash.split("?"), next = new URLSearchParams(words || "");
      next.set("release", event.target.value);
      location.hash = `${path || "#/"}?${next}`;
    });
    window.addEventListener("hashchange", route);
    document.addEventListener("click", (event) => {
      if (event.target.closest("a[href^='#/']")) followed = true;
    });
    document.querySelector(".skip")?.addEventListener("click", (event) => {
      event.preventDefault();
      main().focus();
    });
    route();
  };

  const tools = {
    data, has, load, rowsOf, fileOf, caseOf, word, row, h, address, link, search, request, table, chip, plain, external, marked,
    chosen, tally, grouped, score, query, current, route, releases, ofCase, ofCompare,
    alone: (title, ...children) => pageOf(++visit)(title, ...children),
  };

  /* Another script adds pages by their names, and tools for the scripts after it. */
  const extend = (make) => {
    const { pages, ...added } = make(tools);
    Object.assign(PAGES, pages);
    Object.assign(tools, added);
  };

  return { put, extend };
})();
