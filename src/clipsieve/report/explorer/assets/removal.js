// ---- the component search: a curve and a slider -------------------------------------------------------
function searchesHere() {
  const { e, j } = now(), seed = j < 0 ? header.seeds[0] : header.seeds[j];
  return (header.searches ?? []).filter((s) => s.encoder === header.encoders[e].id && s.seed === seed);
}
const titleOf = (id) => header.generators.find((g) => g.id === id)?.title ?? id;
const STOPS = { first: "first maximum", log_loss: "least log-loss", last: "last maximum", one_se: "one standard error" };

function fillSearches() {
  const found = searchesHere(), choice = $("#search");
  $("#removal").hidden = !found.length;
  choice.replaceChildren(...found.map((s) => new Option(`${titleOf(s.train)} → ${titleOf(s.val)}`, `${s.train}--${s.val}`)));
  if (!found.length) return;
  if (!found.some((s) => `${s.train}--${s.val}` === state.search)) state.search = choice.options[0].value;
  choice.value = state.search;
}

function drawRemoval() {
  fillSearches();
  const search = searchesHere().find((s) => `${s.train}--${s.val}` === state.search);
  if (!search) return;
  const scores = [search.initial, ...numbers("search_score").slice(search.at, search.at + search.length)];
  const slider = $("#step");
  slider.max = search.length;
  const own = search.stops.log_loss ?? Object.values(search.stops)[0] ?? [0];
  if (state.step == null || Number(state.step) > search.length) state.step = String(own[0]);
  slider.value = state.step;
  const step = Number(state.step), left = search.columns - step;
  const stops = Object.entries(search.stops).map(([name, [at, kept]]) => `${STOPS[name] ?? name} after ${at} (${kept} left)`).join(", ");
  $("#step-told").textContent = `After ${step} of ${search.columns} columns are removed, ${left} are left: ${search.score.replaceAll("_", " ")} ${show(scores[step])} on the train and val images of ${titleOf(search.val)}, before ${show(search.initial)}. Where to stop: ${stops}. No test image is in this curve.`;
  slider.setAttribute("aria-valuetext", `${step} removed, ${left} left, score ${show(scores[step])}`);
  drawCurve(scores, search, step);
  drawRemoved(search, step);
}

function drawCurve(scores, search, step) {
  const holder = $("#curve"), W = Math.min(720, roomOf(holder)), H = 230, x0 = 46, x1 = W - 12, y0 = 12, y1 = H - 42;
  let low = Math.min(...scores), high = Math.max(...scores);
  if (high - low < 0.02) { low -= 0.01; high += 0.01; }
  const X = (k) => x0 + (k / search.length) * (x1 - x0), Y = (v) => y1 - ((v - low) / (high - low)) * (y1 - y0);
  const image = svg("svg", { width: W, height: H, viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `Score after each removal, from ${show(scores[0])} with all columns to ${show(scores.at(-1))} with one; the slider reads it step by step` });
  for (const v of ticksOf(low, high, 4)) {
    svg("line", { x1: x0, x2: x1, y1: Y(v), y2: Y(v), class: "rule" }, image);
    svg("text", { x: x0 - 6, y: Y(v) + 4, "text-anchor": "end", class: "quiet" }, image, +v.toFixed(3));
  }
  axis(image, x0, x1, y1, X, ticksOf(0, search.length, W < 450 ? 4 : 8));
  svg("text", { x: (x0 + x1) / 2, y: H - 6, "text-anchor": "middle", class: "quiet" }, image, "columns removed");
  for (const [at] of Object.values(search.stops)) svg("line", { x1: X(at), x2: X(at), y1: y0, y2: y1, class: "axis", "stroke-dasharray": "3 3" }, image);
  svg("polyline", { points: scores.map((v, k) => `${X(k).toFixed(1)},${Y(v).toFixed(1)}`).join(" "), fill: "none", "stroke-width": 2 }, image).style.stroke = "var(--accent)";
  svg("line", { x1: X(step), x2: X(step), y1: y0, y2: y1, "stroke-width": 2, class: "now" }, image).style.stroke = "var(--second)";
  svg("circle", { cx: X(step), cy: Y(scores[step]), r: 5 }, image).style.fill = "var(--second)";
  holder.replaceChildren(image);
}

// the transfer of probes on what is left, at the nearest size that the run fitted
function removedAt(search, step) {
  const mine = (header.removals ?? []).find((r) => r.encoder === search.encoder && r.seed === search.seed && r.train === search.train && r.val === search.val);
  if (!mine) return null;
  const m = mine.metrics.indexOf(state.metric) < 0 ? 0 : mine.metrics.indexOf(state.metric);
  const k = mine.steps.reduce((best, at, n) => (Math.abs(at - step) < Math.abs(mine.steps[best] - step) ? n : best), 0);
  const G = header.generators.length, all = numbers("removals");
  const at = mine.at + (k * mine.metrics.length + m) * G * G;
  return { step: mine.steps[k], left: search.columns - mine.steps[k], metric: mine.metrics[m], values: all.subarray(at, at + G * G), mine };
}
function drawRemoved(search, step) {
  const found = removedAt(search, step), holder = $("#removal-matrix"), G = header.generators;
  holder.replaceChildren();
  if (!found) { $("#removal-note").textContent = "The transfer of probes on fewer columns is not in this run (config: search.sizes)."; return; }
  const metric = header.metrics[place(header.metrics, found.metric)], scale = levelScale(metric);
  const off = [...found.values].filter((v, n) => known(v) && Math.floor(n / G.length) !== n % G.length);
  grid(holder, { label: `Transfer with ${found.left} columns left`, rows: G, columns: G, most: 34, numbered: true,
    at: (i, t) => {
      const v = found.values[i * G.length + t];
      return known(v) ? { label: `With ${found.left} columns, trained on ${G[i].title}, tested on ${G[t].title}: ${metric.title} ${show(v)}`, color: scale.color(v), text: show(v, 2).replace(/^0/, ""), css: i === t ? "own" : "" }
        : { label: `${G[i].title}, ${G[t].title}: in the search, so not evaluated`, css: "none", text: "–" };
    }, hear: (text) => { $("#removal-note").textContent = text; } });
  const told = `Mean ${metric.title} on test images off the diagonal with ${found.left} columns left (the nearest size that was fitted, after ${found.step} removals): ${show(mean(off))} over ${off.length} cells. One probe per generator at the C of the search; the two generators of the search are left out.`;
  $("#removal-note").textContent = told;
}

function removalRows() {
  const search = searchesHere().find((s) => `${s.train}--${s.val}` === state.search);
  const losses = numbers("search_loss"), scores = numbers("search_score");
  const rows = [["run", "encoder", "seed", "train", "val", "removed", "left", search.score, "log_loss"], [header.run, search.encoder, search.seed, search.train, search.val, 0, search.columns, search.initial, null]];
  for (let k = 0; k < search.length; k++) rows.push([header.run, search.encoder, search.seed, search.train, search.val, k + 1, search.columns - k - 1, scores[search.at + k], losses[search.at + k]]);
  return rows;
}
