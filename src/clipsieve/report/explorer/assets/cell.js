// ---- one cell: every metric, the distributions, the ROC curve, the surest images ---------------------
function drawCell() {
  const { e, s, a, j, i, t } = now(), holder = $("#cell"), G = header.generators;
  holder.replaceChildren();
  make("h3", {}, holder, `${G[i].title} → ${G[t].title}`);
  const [real, generated, groups] = header.counts[t] ?? [];
  const counted = real == null ? "" : ` ${real} real and ${generated} generated test images of ${groups} groups.`;
  make("p", { class: "note" }, holder, `${header.sets[s].title}; ${seedsInWords()}.${counted}`);
  const rows = header.metrics.map((metric, m) => {
    const mine = cell(e, j, s, m, i, t), other = a < 0 ? null : cell(e, j, a, m, i, t);
    return { m, cells: [metric.title, show(mine.value), between(mine.low, mine.high), ...(other ? [show(other.value), signed(mine.value - other.value)] : [])] };
  });
  const columns = [["Metric", ""], ["value", "num"], [`${percent()} interval`, "num"], ...(a < 0 ? [] : [["other set", "num"], ["difference", "num"]])];
  table(make("div", { class: "scroll" }, holder), "", columns, rows, (row) => row.m === now().m);
  drawDetails(holder);
}

function drawDetails(holder) {
  const { e, s, i, t } = now(), details = header.details, mine = details?.encoders[e];
  if (!mine) return make("p", { class: "note" }, holder, "This page holds no scores of images of this encoder.");
  const k = mine.sets.indexOf(state.set);
  if (k < 0) return make("p", { class: "note" }, holder, "Distributions and images are in this page for methods, not for controls.");
  const P = header.generators.length, I = mine.image_sets.length, B = details.bins;
  const edges = numbers(`edges${e}`), low = edges[2 * (k * P + i)], high = edges[2 * (k * P + i) + 1];
  const of = [header.generators[t].id, header.sources[t]].map((name) => mine.image_sets.indexOf(name));
  if (!known(low) || of.includes(-1)) return make("p", { class: "note" }, holder, "No scores: the feature set was selected on this generator.");
  const bins = numbers(`bins${e}`), counts = of.map((n) => [...bins.subarray(((k * P + i) * I + n) * B, ((k * P + i) * I + n + 1) * B)]);
  if (!counts[0].some(Boolean)) return make("p", { class: "note" }, holder, "No scores: the feature set was selected on this generator.");
  const threshold = numbers(`threshold${e}`)[k * P + i];
  make("h3", {}, holder, `Scores of the test images (seed ${details.seed})`);
  drawHistogram(holder, counts, low, high, threshold);
  drawRoc(holder, counts, low, high, threshold);
  drawShots(holder, mine, k, of);
}

function drawHistogram(holder, [generated, real], low, high, threshold) {
  const W = Math.min(420, roomOf(holder)), H = 150, x0 = 8, x1 = W - 8, mid = 64;
  const total = (list) => list.reduce((a, b) => a + b, 0) || 1;
  const shares = [real, generated].map((list) => list.map((n) => n / total(list)));
  const tallest = Math.max(...shares.flat()), B = real.length, step = (x1 - x0) / B;
  const image = svg("svg", { width: W, height: H, viewBox: `0 0 ${W} ${H}`, role: "img", class: "histogram",
    "aria-label": `Distribution of logits: ${total(real)} real images above the line, ${total(generated)} generated ones below, from ${show(low, 2)} to ${show(high, 2)}; the val threshold is ${show(threshold, 2)}` }, holder);
  shares.forEach((list, side) => list.forEach((share, b) => {
    const h = (share / tallest) * 52;
    if (share) svg("rect", { x: x0 + b * step, y: side ? mid : mid - h, width: Math.max(1, step - 0.6), height: h, class: "bin" }, image).style.fill = `var(${side ? "--second" : "--accent"})`;
  }));
  const scale = (x) => x0 + ((Math.max(low, Math.min(high, x)) - low) / (high - low)) * (x1 - x0);
  svg("line", { x1: x0, x2: x1, y1: mid, y2: mid, class: "axis" }, image);
  for (const [x, dash] of [[0, null], [threshold, "4 3"]]) svg("line", { x1: scale(x), x2: scale(x), y1: 6, y2: 122, class: "axis", "stroke-dasharray": dash, "stroke-width": 1.5 }, image);
  axis(image, x0, x1, 124, scale, ticksOf(low, high, 4));
  const keys = make("p", { class: "note" }, holder);
  make("span", { class: "key" }, keys, "").append(swatch("--accent"), " real (above)");
  make("span", { class: "key" }, keys, "").append(swatch("--second"), " generated (below)");
  make("span", {}, keys, `Logit: right is real. Full line: 0, where accuracy is read; dashed: ${show(threshold, 2)}, fixed on val. The outer bins hold whatever lies beyond.`);
}
function swatch(color) {
  const box = svg("svg", { width: 12, height: 12, "aria-hidden": "true" });
  svg("rect", { width: 12, height: 12 }, box).style.fill = `var(${color})`;
  return box;
}

// images that are called generated at a threshold are those with a smaller logit; from bins, so from few points
function rocOf([generated, real]) {
  const total = (list) => list.reduce((a, b) => a + b, 0) || 1, [G, R] = [total(generated), total(real)];
  const points = [[0, 0]];
  let g = 0, r = 0;
  for (let b = 0; b < real.length; b++) { g += generated[b]; r += real[b]; points.push([r / R, g / G]); }
  return points;
}
function drawRoc(holder, counts, low, high, threshold) {
  const points = rocOf(counts), S = 168, x0 = 40, y0 = 10;
  const at = (x) => { const b = Math.max(0, Math.min(points.length - 1, Math.round(((x - low) / (high - low)) * (points.length - 1)))); return points[b]; };
  const image = svg("svg", { width: S + x0 + 10, height: S + y0 + 36, role: "img", class: "roc", "aria-label": `ROC curve from ${points.length - 1} bins: at logit 0, ${show(at(0)[1], 2)} of the generated and ${show(at(0)[0], 2)} of the real images are called generated` }, holder);
  const X = (x) => x0 + x * S, Y = (y) => y0 + (1 - y) * S;
  svg("rect", { x: x0, y: y0, width: S, height: S, class: "rule", fill: "none" }, image);
  svg("line", { x1: X(0), y1: Y(0), x2: X(1), y2: Y(1), class: "rule", "stroke-dasharray": "4 3" }, image);
  svg("polyline", { points: points.map(([x, y]) => `${X(x).toFixed(1)},${Y(y).toFixed(1)}`).join(" "), fill: "none", "stroke-width": 2 }, image).style.stroke = "var(--accent)";
  for (const x of [0, threshold]) svg("circle", { cx: X(at(x)[0]), cy: Y(at(x)[1]), r: 4, fill: x === 0 ? "var(--accent)" : "var(--paper)", "stroke-width": 2 }, image).style.stroke = "var(--accent)";
  for (const v of [0, 0.5, 1]) {
    svg("text", { x: X(v), y: y0 + S + 15, "text-anchor": "middle", class: "quiet" }, image, v);
    svg("text", { x: x0 - 5, y: Y(v) + 4, "text-anchor": "end", class: "quiet" }, image, v);
  }
  svg("text", { x: X(0.5), y: y0 + S + 31, "text-anchor": "middle", class: "quiet" }, image, "real called generated");
  svg("text", { transform: `translate(11,${Y(0.5)}) rotate(-90)`, "text-anchor": "middle", class: "quiet" }, image, "generated found");
  make("p", { class: "note" }, holder, `ROC curve, drawn from ${points.length - 1} bins; the AUC above is of the scores themselves. Full dot: logit 0; open dot: the val threshold.`);
}

function drawShots(holder, mine, k, [generated, real]) {
  const { e, i } = now(), P = header.generators.length, I = mine.image_sets.length, N = header.details.surest;
  const surest = numbers(`surest${e}`), sure = numbers(`sure${e}`);
  for (const [title, n, right] of [["Real, taken for real", real, 0], ["Real, taken for generated", real, 1], ["Generated, taken for generated", generated, 0], ["Generated, taken for real", generated, 1]]) {
    const at = (((k * P + i) * I + n) * 2 + right) * N;
    const found = [...surest.subarray(at, at + N)].map((index, r) => [index, sure[at + r]]).filter(([index]) => index >= 0);
    make("h3", {}, holder, title);
    if (!found.length) { make("p", { class: "note" }, holder, "None."); continue; }
    const list = make("ul", { class: "shots" }, holder);
    for (const [index, probability] of found) {
      const image = header.images[index], item = make("li", {}, list);
      const alt = `${image.id}, ${image.about}, ${(100 * probability).toFixed(1)} % generated`;
      if (image.thumbnail >= 0) make("img", { src: thumbnail(image.thumbnail), alt, title: alt, width: 76, height: 76 }, item);
      else make("span", { class: "blank", title: alt }, item, image.id);
      make("span", {}, item, `${(100 * probability).toFixed(1)} % gen.`);
    }
  }
  make("p", { class: "note" }, holder, "The surest images of each kind, by the probability of generated. The name and size of an image stand in its tip; where no thumbnail fits into the page, the name stands in its place.");
}
