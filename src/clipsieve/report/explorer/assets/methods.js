// ---- methods compared -----------------------------------------------------------------------------------
function ladderRows() {
  const { e, m, j } = now(), group = place(header.groups, "all");
  return header.sets.map((one, s) => ({ one, s, row: meanRow(e, j, s, m, group) })).filter(({ row }) => row && known(row.value));
}

function drawMethods() {
  const { e, m } = now(), metric = header.metrics[m], rows = ladderRows(), holder = $("#ladder");
  rows.sort((a, b) => Number(a.one.control) - Number(b.one.control) || (metric.higher ? b.row.value - a.row.value : a.row.value - b.row.value));
  const W = roomOf(holder), left = Math.min(W * 0.45, Math.max(...rows.map(({ one }) => widthOf(one.title))) + 14), H = 22, x1 = W - 14;
  const ends = rows.flatMap(({ row }) => [row.value, row.value_generators_low, row.value_generators_high, row.low, row.high]).filter(known).concat(metric.chance);
  const low = Math.min(...ends), high = Math.max(...ends), X = (v) => left + ((v - low) / (high - low || 1)) * (x1 - left);
  const height = rows.length * H + 44, image = svg("svg", { width: W, height, viewBox: `0 0 ${W} ${height}`, role: "group", "aria-label": "Feature sets by their mean. Enter chooses one." });
  svg("line", { x1: X(metric.chance), x2: X(metric.chance), y1: 0, y2: rows.length * H, class: "rule", "stroke-dasharray": "4 3" }, image);
  rows.forEach(({ one, s, row }, n) => {
    const y = n * H + H / 2, chosen = one.id === state.set;
    const label = `${one.title}${one.control ? " (control)" : ""}: ${metric.title} ${show(row.value)}, ${between(row.value_generators_low, row.value_generators_high)} over generators, ${between(row.low, row.high)} over photographs, ${row.cells} cells` + (known(row.difference) ? `; difference to all columns ${signed(row.difference)}, p after Holm over generators ${show(row.generators_p_holm, 4)}` : "");
    const node = svg("g", { class: "row", role: "button", tabindex: 0, "aria-label": label, "aria-pressed": chosen, "data-set": one.id }, image);
    svg("title", {}, node, label);
    svg("rect", { x: 1, y: y - H / 2 + 1, width: W - 2, height: H - 2, class: "frame" }, node);
    svg("text", { x: left - 8, y: y + 4, "text-anchor": "end", class: one.control ? "quiet" : null }, node, cut(one.title, left - 12));
    const color = one.control ? "var(--quiet)" : "var(--accent)";
    if (known(row.value_generators_low)) svg("line", { x1: X(row.value_generators_low), x2: X(row.value_generators_high), y1: y, y2: y, "stroke-width": 1.5 }, node).style.stroke = color;
    if (known(row.low)) svg("line", { x1: X(row.low), x2: X(row.high), y1: y, y2: y, "stroke-width": 4 }, node).style.stroke = color;
    svg("circle", { cx: X(row.value), cy: y, r: 4.5, class: "mark" }, node).style.fill = color;
    const choose = () => set({ set: one.id });
    node.addEventListener("click", choose);
    node.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(); $(`#ladder [data-set="${one.id}"]`)?.focus(); } });
  });
  axis(image, left, x1, rows.length * H + 4, X, ticksOf(low, high, W < 500 ? 3 : 5));
  svg("text", { x: (left + x1) / 2, y: height - 5, "text-anchor": "middle", class: "quiet" }, image, metric.title);
  holder.replaceChildren(image);
  $("#methods-note").textContent = `${metric.title}, ${seedsInWords()}. Thin lines: intervals over generators (what others could have given); thick ones: over photographs. Grey: controls. Sets that were selected on a pair are over fewer cells: compare differences, not levels.`;
  drawDots(e, m);
  drawControls();
}

// mean over training generators for each test generator, over cells that all shown sets have
function columnMeans(e, m, j, sets) {
  const G = header.generators.length;
  return [...Array(G).keys()].map((t) => {
    const rows = [...Array(G).keys()].filter((i) => i !== t).map((i) => sets.map((s) => cell(e, j, s, m, i, t).value)).filter((values) => values.every(known));
    return { t, n: rows.length, values: sets.map((_, k) => mean(rows.map((r) => r[k]))) };
  });
}
function comparedSets() {
  const { s, a } = now(), base = place(header.sets, header.baseline);
  return [...new Set([s, a, base])].filter((x) => x >= 0);
}
const SHAPES = ["circle", "square", "diamond"], HUES = ["--accent", "--second", "--third"];
function dot(parent, shape, x, y, color) {
  const node = shape === 0 ? svg("circle", { cx: x, cy: y, r: 5, class: "mark" }, parent)
    : svg("rect", { x: x - 4.5, y: y - 4.5, width: 9, height: 9, class: "mark", transform: shape === 2 ? `rotate(45 ${x} ${y})` : null }, parent);
  node.style.fill = `var(${color})`;
}
function drawDots(e, m) {
  const metric = header.metrics[m], sets = comparedSets(), found = columnMeans(e, m, now().j, sets).filter((r) => r.n);
  const holder = $("#dots");
  holder.replaceChildren();
  if (!found.length) return make("p", { class: "note" }, holder, "No cell in common.");
  const all = found.flatMap((r) => r.values), low = Math.min(...all, metric.chance), high = Math.max(...all, metric.chance);
  const W = roomOf(holder), left = Math.min(W * 0.45, Math.max(...found.map((r) => widthOf(header.generators[r.t].title))) + 14), H = 24, x1 = W - 14, X = (v) => left + ((v - low) / (high - low || 1)) * (x1 - left);
  const told = found.map((r) => `${header.generators[r.t].title}: ${sets.map((s, k) => `${header.sets[s].title} ${show(r.values[k])}`).join(", ")}`).join("; ");
  const image = svg("svg", { width: W, height: found.length * H + 30, role: "img", "aria-label": `Mean ${metric.title} by test generator. ${told}` }, holder);
  svg("line", { x1: X(metric.chance), x2: X(metric.chance), y1: 0, y2: found.length * H, class: "rule", "stroke-dasharray": "4 3" }, image);
  found.forEach((r, n) => {
    const y = n * H + H / 2, line = svg("g", {}, image);
    svg("title", {}, line, `${header.generators[r.t].title}, ${r.n} cells: ${sets.map((s, k) => `${header.sets[s].title} ${show(r.values[k])}`).join(", ")}`);
    svg("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, line, cut(header.generators[r.t].title, left - 12));
    svg("line", { x1: X(Math.min(...r.values)), x2: X(Math.max(...r.values)), y1: y, y2: y, class: "axis" }, line);
    r.values.forEach((v, k) => dot(line, k, X(v), y, HUES[k]));
  });
  axis(image, left, x1, found.length * H + 2, X, ticksOf(low, high, W < 500 ? 3 : 5));
  const keys = make("p", {}, holder);
  sets.forEach((s, k) => {
    const key = make("span", { class: "key" }, keys), sign = svg("svg", { width: 14, height: 14, "aria-hidden": "true" }, key);
    dot(sign, k, 7, 7, HUES[k]);
    key.append(header.sets[s].title);
  });
  make("p", { class: "note" }, holder, `Mean over the training generators whose cells all of these sets have, without the diagonal. Choose other sets above.`);
}

function drawControls() {
  const holder = $("#controls-table"), { m, j } = now(), seed = header.seeds[Math.max(j, 0)];
  holder.replaceChildren();
  const rows = (header.controls ?? []).filter((c) => c.encoder === state.encoder && (c.seed ?? seed) === seed && c.metric === header.metrics[m].id);
  if (!rows.length) return;
  make("h3", {}, holder, `More than chance? Ranks among controls (seed ${seed})`);
  const title = (id) => header.sets.find((s) => s.id === id)?.title ?? id;
  table(make("div", { class: "scroll" }, holder), "", [["selection", ""], ["control", ""], ["mean of controls", "num"], ["rank", "num"], ["p (Holm)", "num"]],
    rows.map((c) => ({ cells: [title(c.feature_set), title(c.control), show(c.control_mean), `${c.rank ?? "–"} of ${c.draws == null ? "–" : c.draws + 1}`, show(c.p_holm, 4)] })));
}

function methodRows() {
  return [["run", "encoder", "seed", "feature_set", "metric", "n_cells", ...header.mean_columns],
    ...ladderRows().map(({ one, row }) => [header.run, state.encoder, state.seed, one.id, state.metric, row.cells, ...header.mean_columns.map((name) => row[name])])];
}
