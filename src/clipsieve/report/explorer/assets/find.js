// ---- search: generators, feature sets, encoders, words, heads, images -----------------------------------
function everything() {
  const found = [];
  for (const g of header.generators) found.push({ text: `Generator ${g.title} (${g.family}, ${g.kind})`, go: () => set({ test: g.id }), at: "#transfer" });
  for (const s of header.sets) found.push({ text: `Feature set ${s.title}`, go: () => set({ set: s.id }), at: "#transfer" });
  for (const e of header.encoders) found.push({ text: `Encoder ${e.title}`, go: () => set({ encoder: e.id }), at: "#transfer" });
  for (const m of header.metrics) found.push({ text: `Metric ${m.title}`, go: () => set({ metric: m.id }), at: "#transfer" });
  const seen = new Set();
  for (const w of wordRows()) {
    if (seen.has(w.text + keyOf(w))) continue;
    seen.add(w.text + keyOf(w));
    found.push({ text: `Word “${w.text}”: ${w.side} to ${directionTitle(w)}`, go: () => set({ texts: w.list, direction: keyOf(w) }), at: "#words" });
  }
  for (const [n, image] of (header.images ?? []).entries()) found.push({ text: `Image ${image.id}`, go: () => showImage(n), at: "#cell" });
  return found;
}

// the first cell of the chosen encoder that names an image
function showImage(n) {
  const { e } = now(), mine = header.details?.encoders[e], surest = mine && numbers(`surest${e}`);
  const at = surest ? surest.indexOf(n) : -1;
  if (at < 0) return;
  const G = header.generators, I = mine.image_sets.length, each = 2 * header.details.surest;
  const i = Math.floor(at / each), name = mine.image_sets[i % I], p = Math.floor(i / I) % G.length;
  const test = place(G, name) >= 0 ? place(G, name) : Math.max(0, header.sources.indexOf(name));
  set({ set: mine.sets[Math.floor(i / I / G.length)], train: G[p].id, test: G[test].id });
}

function startSearch() {
  const query = $("#query"), list = $("#found");
  let found = [], chosen = 0;
  const close = () => { list.hidden = true; query.setAttribute("aria-expanded", "false"); query.removeAttribute("aria-activedescendant"); };
  const take = (k) => { const one = found[k]; if (!one) return; close(); query.value = ""; one.go(); $(one.at).scrollIntoView({ block: "start" }); };
  const mark = () => [...list.children].forEach((item, k) => {
    item.setAttribute("aria-selected", k === chosen);
    if (k === chosen) { query.setAttribute("aria-activedescendant", item.id); item.scrollIntoView({ block: "nearest" }); }
  });
  query.addEventListener("input", () => {
    const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
    const all = words.length ? everything().filter(({ text }) => words.every((w) => text.toLowerCase().includes(w))) : [];
    found = all.slice(0, 30);
    chosen = 0;
    list.replaceChildren();
    found.forEach((one, k) => make("li", { role: "option", id: `found-${k}` }, list, one.text).addEventListener("mousedown", (event) => { event.preventDefault(); take(k); }));
    if (words.length && !found.length) make("li", { role: "option", "aria-disabled": "true" }, list, "Nothing found in this page");
    if (all.length > found.length) make("li", { role: "option", "aria-disabled": "true" }, list, `and ${all.length - found.length} more: add a word`);
    list.hidden = !words.length;
    query.setAttribute("aria-expanded", String(!list.hidden));
    mark();
  });
  query.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") { event.preventDefault(); chosen = Math.max(0, Math.min(found.length - 1, chosen + (event.key === "ArrowDown" ? 1 : -1))); mark(); }
    else if (event.key === "Enter") { event.preventDefault(); take(chosen); }
    else if (event.key === "Escape") { query.value = ""; close(); }
  });
  query.addEventListener("blur", close);
}
