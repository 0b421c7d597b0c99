// ---- attention heads ----------------------------------------------------------------------------------
function headRows() {
  const keys = numbers("heads_key"), values = numbers("heads");
  if (!keys) return [];
  const { e, j } = now(), seed = Math.max(j, 0), found = [];
  for (let r = 0; r < keys.length / 7; r++) {
    const [encoder, s, train, val, layer, head, rank] = keys.subarray(7 * r, 7 * r + 7);
    if (encoder === e && s === seed) found.push({ pair: `${header.head_generators[train]}--${header.head_generators[val]}`, layer, head, rank, accuracy: values[2 * r], auc: values[2 * r + 1] });
  }
  return found;
}

function drawHeads() {
  const rows = headRows(), pairs = [...new Set(rows.map((r) => r.pair))], choice = $("#ranking");
  $("#heads").hidden = !pairs.length;
  if (!pairs.length) return;
  choice.replaceChildren(...pairs.map((p) => new Option(p.split("--").map(titleOf).join(" → "), p)));
  if (!pairs.includes(state.ranking)) state.ranking = pairs[0];
  choice.value = state.ranking;
  const mine = rows.filter((r) => r.pair === state.ranking), name = state.metric === "auc" ? "auc" : "accuracy";
  const at = new Map(mine.map((r) => [`l${r.layer}_h${r.head}`, r]));
  const layers = Math.max(...mine.map((r) => r.layer)) + 1, width = Math.max(...mine.map((r) => r.head)) + 1;
  if (!at.has(state.head)) { const best = mine.reduce((a, b) => (b.rank < a.rank ? b : a)); state.head = `l${best.layer}_h${best.head}`; }
  const metric = header.metrics[place(header.metrics, name)] ?? { higher: true, chance: 0.5, title: name };
  const scale = levelScale(metric);
  const [, layer, head] = state.head.match(/l(\d+)_h(\d+)/).map(Number);
  const tell = (l, h) => {
    const r = at.get(`l${l}_h${h}`);
    return r ? { label: `Layer ${l}, head ${h}: ${metric.title} ${show(r[name])}, rank ${r.rank} of ${mine.length}`, color: scale.color(r[name]), text: r.rank <= 9 ? String(r.rank) : "" } : { label: `Layer ${l}, head ${h}: not scored`, css: "none" };
  };
  grid($("#head-map"), { label: "Heads by layer (rows) and number (columns). Arrow keys move, Enter chooses.", rows: [...Array(layers).keys()].map((l) => ({ title: `layer ${l}` })), columns: [...Array(width).keys()].map((h) => ({ title: String(h) })),
    most: 34, at: tell, pressed: [layer, head], choose: (l, h) => set({ head: `l${l}_h${h}` }, "head"), hear: (text) => { $("#head-told").textContent = text; } });
  $("#head-told").textContent = `${tell(layer, head).label}. Numbers are ranks up to 9, by ${metric.title} on the train and val images of the second generator.`;
  drawHeadTexts();
}

function drawHeadTexts() {
  const holder = $("#head-texts");
  holder.replaceChildren();
  make("h3", {}, holder, `Texts nearest to and farthest from ${state.head.replace(/l(\d+)_h(\d+)/, "layer $1, head $2")}`);
  const all = wordRows().filter((w) => w.kind === "head" && w.direction === state.head);
  const mine = all.filter((w) => w.set === `heads/${state.ranking}`), found = mine.length ? mine : all;
  if (!found.length) return make("p", { class: "note" }, holder, "The run explains the heads that were chosen for a pair, not this one; chosen heads have the smallest ranks.");
  for (const side of ["nearest", "farthest"]) wordTable(holder, side, found.filter((w) => w.side === side));
}

function headCsv() {
  const { e, j } = now();
  return [["run", "encoder", "seed", "train", "val", "layer", "head", "rank", "accuracy", "auc"],
    ...headRows().filter((r) => r.pair === state.ranking).map((r) => [header.run, header.encoders[e].id, header.seeds[Math.max(j, 0)], ...r.pair.split("--"), r.layer, r.head, r.rank, r.accuracy, r.auc])];
}
