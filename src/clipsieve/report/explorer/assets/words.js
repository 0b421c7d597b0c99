// ---- words and known edits ----------------------------------------------------------------------------
function wordRows() {
  const keys = numbers("words_key"), values = numbers("words"), told = header.words, { e, j } = now(), found = [];
  if (!keys) return found;
  const seed = Math.max(j, 0);
  for (let r = 0; r < keys.length / 10; r++) {
    if (keys[10 * r] !== e || keys[10 * r + 1] !== seed) continue;
    const [, , list, kind, direction, s, side, text, rank, above] = keys.subarray(10 * r, 10 * r + 10);
    found.push({ list: told.list[list], kind: told.kind[kind], direction: told.direction[direction], set: told.feature_set[s], side: told.side[side], text: told.text[text], rank, above: above === 1,
      cosine: values[4 * r], z: 100 * values[4 * r + 1], shuffled: 100 * values[4 * r + 2], p: values[4 * r + 3] });
  }
  return found;
}
function editRows() {
  const keys = numbers("concepts_key"), values = numbers("concepts"), told = header.concepts, { e } = now(), found = [];
  for (let r = 0; keys && r < keys.length / 6; r++) {
    if (keys[6 * r] !== e) continue;
    const [, kind, direction, s, edit, above] = keys.subarray(6 * r, 6 * r + 6);
    found.push({ kind: told.kind[kind], direction: told.direction[direction], set: told.feature_set[s], edit: told.edit[edit], above: above === 1, cosine: values[3 * r], z: 100 * values[3 * r + 1], p: values[3 * r + 2] });
  }
  return found;
}
const keyOf = (row) => `${row.kind}|${row.direction}|${row.set}`;
function directionTitle(row) {
  if (row.kind === "head") return `head, ${row.direction.replace(/l(\d+)_h(\d+)/, "layer $1, head $2")} (${row.set.split("/")[1]?.split("--").map(titleOf).join(" → ") ?? row.set})`;
  const known = header.sets.find((s) => s.id === row.set)?.title ?? row.set;
  return `${row.kind} of ${titleOf(row.direction)}, ${known}`;
}

function wordTable(holder, side, rows) {
  const several = new Set(rows.map((w) => w.list)).size > 1;
  table(make("div", { class: "scroll" }, holder), side === "nearest" ? "Nearest" : "Farthest",
    [["text", ""], ...(several ? [["list", ""]] : []), ["cosine", "num"], ["z, random", "num"], ["z, shuffled", "num"], ["p", "num"], ["above null", ""]],
    rows.map((w) => ({ above: w.above, cells: [w.text, ...(several ? [w.list] : []), show(w.cosine), show(w.z, 1), show(w.shuffled, 1), show(w.p, 4), w.above ? "yes" : "no"] })), (row) => row.above);
}

function drawWords() {
  const words = wordRows(), edits = editRows(), lists = [...new Set(words.map((w) => w.list))];
  $("#words").hidden = !words.length && !edits.length;
  if ($("#words").hidden) return;
  const texts = $("#texts"), choice = $("#direction");
  texts.replaceChildren(...lists.map((l) => new Option(l, l)));
  texts.parentElement.hidden = !lists.length;
  if (!lists.includes(state.texts)) state.texts = lists[0] ?? "";
  texts.value = state.texts;
  const here = words.filter((w) => w.list === state.texts);
  const titles = new Map([...here, ...edits].map((row) => [keyOf(row), directionTitle(row)]));
  choice.replaceChildren(...[...titles].map(([key, title]) => new Option(title, key)));
  if (!titles.has(state.direction)) state.direction = [...titles.keys()].find((k) => k.startsWith("probe|")) ?? [...titles.keys()][0];
  choice.value = state.direction;
  const mine = here.filter((w) => keyOf(w) === state.direction), lists2 = $("#word-lists");
  lists2.replaceChildren();
  for (const side of ["nearest", "farthest"]) if (mine.length) wordTable(make("div", {}, lists2), side, mine.filter((w) => w.side === side));
  if (!mine.length) make("p", { class: "note" }, lists2, "No texts were compared with this direction.");
  else make("p", { class: "note" }, lists2, "Nearest: in the direction that raises the probability of generated. z compares the cosine with random directions and with probes on shuffled labels; p with the largest cosine over all texts of each random direction. Bold rows are above their null.");
  const holder = $("#edits"), changed = edits.filter((r) => keyOf(r) === state.direction);
  holder.replaceChildren();
  if (changed.length) drawEdits(holder, changed);
}

function drawEdits(holder, rows) {
  make("h3", {}, holder, "Known edits of real images");
  const W = Math.min(560, roomOf(holder)), left = 130, top = Math.max(0.05, ...rows.map((r) => Math.abs(r.cosine))), X = (v) => left + ((v + top) / (2 * top)) * (W - left - 20);
  const image = svg("svg", { width: W, height: rows.length * 22 + 44, role: "img", "aria-label": "Cosine of each known edit with the direction: " + rows.map((r) => `${r.edit} ${show(r.cosine)}${r.above ? ", above its null" : ""}`).join("; ") }, holder);
  rows.forEach((r, n) => {
    const y = 14 + n * 22;
    svg("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, image, cut(r.edit.replaceAll("_", " "), left - 12));
    const bar = svg("rect", { x: Math.min(X(0), X(r.cosine)), y: y - 6, width: Math.abs(X(r.cosine) - X(0)), height: 12, "stroke-width": 1.5 }, image);
    bar.style.stroke = "var(--accent)"; bar.style.fill = r.above ? "var(--accent)" : "transparent";
    svg("title", {}, bar, `${r.edit}: cosine ${show(r.cosine)}, z ${show(r.z, 1)}, p ${show(r.p, 4)}`);
  });
  svg("line", { x1: X(0), x2: X(0), y1: 2, y2: rows.length * 22 + 4, class: "axis" }, image);
  axis(image, left, W - 20, rows.length * 22 + 6, X, ticksOf(-top, top, 4));
  make("p", { class: "note" }, holder, "To the right: the edit moves real images towards generated ones. Filled bars are above their null (random directions, corrected over all edits).");
}

function wordCsv() {
  const { e, j } = now(), start = [header.run, header.encoders[e].id, header.seeds[Math.max(j, 0)]];
  return [["run", "encoder", "seed", "kind", "direction", "feature_set", "list_or_edit", "side", "rank", "text", "cosine", "z_random", "z_shuffled", "p", "above_null"],
    ...wordRows().filter((w) => w.list === state.texts && keyOf(w) === state.direction).map((w) => [...start, w.kind, w.direction, w.set, w.list, w.side, w.rank, w.text, w.cosine, w.z, w.shuffled, w.p, w.above]),
    ...editRows().filter((w) => keyOf(w) === state.direction).map((w) => [...start, w.kind, w.direction, w.set, "edit", "", "", w.edit, w.cosine, w.z, NaN, w.p, w.above])];
}
