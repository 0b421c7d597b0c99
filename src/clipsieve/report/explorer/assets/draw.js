// ---- drawing --------------------------------------------------------------------------------------
const $ = (selector) => document.querySelector(selector);
const show = (x, digits = 3) => (known(x) ? x.toFixed(digits) : "–");
const signed = (x, digits = 3) => (known(x) ? (x > 0 ? "+" : x < 0 ? "\u2212" : "") + Math.abs(x).toFixed(digits) : "–");
const between = (low, high, format = show) => (known(low) && known(high) ? `${format(low)} to ${format(high)}` : "no interval");
const percent = () => `${+(100 * header.confidence).toFixed(1)} %`;

function make(name, attributes, parent, text) {
  const node = document.createElement(name);
  return finish(node, attributes, parent, text);
}
function svg(name, attributes, parent, text) {
  return finish(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, parent, text);
}
function finish(node, attributes, parent, text) {
  for (const [key, value] of Object.entries(attributes ?? {})) if (value != null && value !== false) node.setAttribute(key, value);
  if (text != null) node.textContent = text;  // never as HTML: names are the user's
  if (parent) parent.append(node);
  return node;
}

function table(parent, caption, columns, rows, marked = () => false) {
  const found = make("table", {}, parent);
  if (caption) make("caption", {}, found, caption);
  const head = make("tr", {}, make("thead", {}, found));
  columns.forEach(([title, css]) => make("th", { scope: "col", class: css }, head, title));
  const body = make("tbody", {}, found);
  for (const row of rows) {
    const line = make("tr", { class: marked(row) ? "yes" : null }, body);
    row.cells.forEach((text, i) => make(i ? "td" : "th", { scope: i ? null : "row", class: columns[i][1] }, line, text));
  }
  return found;
}

const pen = document.createElement("canvas").getContext("2d");
function widthOf(text, size = 12) { pen.font = `${size}px system-ui, sans-serif`; return pen.measureText(text).width; }
function cut(text, width, size = 12) {
  if (widthOf(text, size) <= width) return text;
  let end = text.length;
  while (end > 1 && widthOf(text.slice(0, end) + "…", size) > width) end--;
  return text.slice(0, end) + "…";
}

// cividis for levels, and blue to orange for differences: both are told apart without red and green
const LEVELS = [[0, 34, 78], [61, 77, 107], [124, 123, 120], [187, 173, 108], [254, 232, 56]];
const BETTER = [[235, 235, 235], [124, 174, 222], [11, 92, 173]], WORSE = [[235, 235, 235], [245, 168, 100], [179, 71, 0]];
function mix(stops, t) {
  const x = Math.max(0, Math.min(0.99999, t)) * (stops.length - 1), i = Math.floor(x);
  return stops[i].map((a, k) => Math.round(a + (stops[i + 1][k] - a) * (x - i)));
}
const rgb = (c) => `rgb(${c.join(",")})`;
const inkOn = (c) => ((c[0] * 299 + c[1] * 587 + c[2] * 114) / 1000 > 140 ? "#111" : "#fff");

// A scale from values to colours. Levels begin at chance (where less is better: end there).
function levelScale(metric) {
  // a constant answer can have the best calibration: half a unit is then the worst that is told apart
  const best = metric.higher ? 1 : 0, worst = metric.chance === best ? 0.5 : metric.chance;
  return { color: (x) => mix(LEVELS, (x - worst) / (best - worst)), ends: [worst, best], chance: worst === metric.chance };
}
function differenceScale(metric, largest) {
  const top = Math.max(0.05, Math.ceil(largest * 20) / 20), sign = metric.higher ? 1 : -1;
  return { color: (x) => mix(sign * x >= 0 ? BETTER : WORSE, Math.abs(x) / top), ends: [-top, top] };
}

function axis(parent, x0, x1, y, scale, ticks, format = (t) => +t.toFixed(3)) {
  svg("line", { x1: x0, x2: x1, y1: y, y2: y, class: "axis" }, parent);
  ticks.forEach((t) => {
    svg("line", { x1: scale(t), x2: scale(t), y1: y, y2: y + 4, class: "axis" }, parent);
    svg("text", { x: scale(t), y: y + 17, "text-anchor": "middle", class: "quiet" }, parent, format(t));
  });
}
function ticksOf(low, high, wanted = 5) {
  const raw = (high - low) / wanted || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= raw - 1e-12);
  const found = [];
  for (let t = Math.ceil(low / step - 1e-9) * step; t <= high + step * 1e-6; t += step) found.push(Math.abs(t) < 1e-12 ? 0 : t);
  return found;
}
const roomOf = (node, least = 280) => Math.max(least, Math.floor(node.parentElement.clientWidth || least));

function download(name, rows) {
  const field = (x) => {
    const text = x == null || Number.isNaN(x) ? "" : typeof x === "number" ? String(+x.toFixed(4)) : String(x);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const text = rows.map((row) => row.map(field).join(",")).join("\n") + "\n";
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  const link = make("a", { href: url, download: name }, document.body);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
