"use strict";
const byId = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
let latest = 0;
let maxBytes = Infinity;

function make(tag, text, css) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (css) node.className = css;
  return node;
}

function list(id, lines) {
  byId(id).replaceChildren(...lines.map((line) => make("li", line)));
}

function signed(value) {
  return (value < 0 ? "\u2212" : "+") + Math.abs(value).toFixed(4);
}

function picture(view, cells, label, caption) {
  const figure = make("figure");
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 1 1");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  const image = document.createElementNS(SVG, "image");
  for (const [name, value] of [["href", view], ["width", 1], ["height", 1], ["preserveAspectRatio", "none"]]) {
    image.setAttribute(name, value);
  }
  svg.append(image);
  for (const cell of cells) {
    const rect = document.createElementNS(SVG, "rect");
    for (const name of ["x", "y", "width", "height"]) rect.setAttribute(name, cell[name]);
    rect.setAttribute("class", cell.speaks_for);
    rect.setAttribute("fill-opacity", cell.opacity);
    const title = document.createElementNS(SVG, "title");
    title.textContent = signed(cell.share) + " (" + cell.speaks_for + ")";
    rect.append(title);
    svg.append(rect);
  }
  figure.append(svg, make("figcaption", caption));
  return figure;
}

function table(heading, names, rows) {
  const whole = document.createDocumentFragment();
  const body = make("table");
  const head = make("tr");
  head.append(...names.map((name) => make("th", name)));
  body.append(head);
  for (const row of rows) {
    const line = make("tr");
    line.append(...row.map((cell, k) => make("td", cell, k > 0 ? "num" : "")));
    body.append(line);
  }
  whole.append(make("h2", heading), body);
  return whole;
}

function show(found) {
  const result = found.result;
  byId("verdict").textContent = result.verdict + ": P(generated) " + result.probability_generated.toFixed(3)
    + " if both labels are equally common (logit " + signed(result.logit) + ", large says real)";
  list("warnings", result.warnings.map((line) => "Warning: " + line));
  const pictures = [picture(found.view, [], "What the encoder sees", "What the encoder sees")];
  if (found.cells.length) {
    pictures.push(picture(found.view, found.cells, "Heat map over patches",
      "Shares of the patches in the logit through " + found.heat_heads.length
      + " head(s): red speaks for generated, blue for real"));
  } else {
    pictures.push(make("p", "There is no heat map: " + found.heat_missing + "."));
  }
  byId("pictures").replaceChildren(...pictures);
  const parts = [];
  for (const division of found.divisions) {
    const rows = Object.entries(division.parts).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
    const shown = rows.slice(0, 8);
    const rest = rows.slice(8).reduce((sum, row) => sum + row[1], 0);
    parts.push(table("The logit by " + division.by, ["part", "share of the logit"], [
      ...shown.map(([name, share]) => [name, signed(share)]),
      [rows.length - shown.length + " other parts", signed(rest)],
      ["the same for every image", signed(division.base)],
      ["logit", signed(division.total)],
    ]));
  }
  if (found.words.length) {
    parts.push(table("Nearest words", ["text", "z", "p"],
      found.words.map((word) => [word.text, word.z.toFixed(2), word.p.toFixed(3)])));
  }
  if (found.alike.length) {
    parts.push(table("Nearest training images", ["image", "label", "cosine"],
      found.alike.map((near) => [near.image_id, near.label, near.cosine.toFixed(3)])));
  }
  if (found.file.probability_generated !== null) {
    parts.push(make("p", "A rule that sees only the file's format, size and compression says P(generated) "
      + found.file.probability_generated.toFixed(3) + "."));
  }
  byId("parts").replaceChildren(...parts);
  byId("result").hidden = false;
}

function tell(text, isError) {
  byId("status").textContent = text;
  byId("status").className = isError ? "error" : "";
}

async function judge(file) {
  const mine = ++latest;
  byId("result").hidden = true;
  if (file.size > maxBytes) {
    tell(file.name + ": more than " + maxBytes + " bytes", true);
    return;
  }
  tell("Judging " + file.name + " \u2026", false);
  const rate = byId("rate").value;
  try {
    const answer = await fetch("/api/explain" + (rate ? "?max_false_alarms=" + rate : ""), {
      method: "POST", body: file, headers: {"content-type": "application/octet-stream"},
    });
    const found = await answer.json();
    if (mine !== latest) return;
    if (!answer.ok) {
      tell(file.name + ": " + found.error, true);
      return;
    }
    show(found);
    tell(file.name + " was judged.", false);
  } catch (error) {
    if (mine === latest) tell(file.name + ": no answer (" + error.message + ")", true);
  }
}

async function start() {
  const about = await (await fetch("/api/detector")).json();
  maxBytes = about.max_bytes;
  byId("detector").textContent = "Detector " + about.feature_set + " of " + about.encoder + ", run " + about.run + ".";
  list("cautions", about.cautions);
  for (const rate of about.max_false_alarms) {
    const option = make("option", rate * 100 + " %");
    option.value = rate;
    byId("rate").append(option);
  }
}

const input = byId("image");
const again = () => { if (input.files.length) judge(input.files[0]); };
input.addEventListener("change", again);
byId("rate").addEventListener("change", again);
byId("form").addEventListener("submit", (event) => { event.preventDefault(); again(); });
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => { event.preventDefault(); byId("drop").className = "over"; });
}
for (const kind of ["dragleave", "drop"]) {
  document.addEventListener(kind, (event) => { event.preventDefault(); byId("drop").className = ""; });
}
document.addEventListener("drop", (event) => {
  if (event.dataTransfer.files.length) judge(event.dataTransfer.files[0]);
});
start();
