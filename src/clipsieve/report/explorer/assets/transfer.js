// ---- the transfer matrix ------------------------------------------------------------------------
// what is chosen, as text (it stands in the address), and as places along the axes
let state = {};
const now = () => ({
  e: place(header.encoders, state.encoder), s: place(header.sets, state.set), a: place(header.sets, state.against),
  m: place(header.metrics, state.metric), j: state.seed === "mean" ? -1 : header.seeds.indexOf(Number(state.seed)),
  i: place(header.generators, state.train), t: place(header.generators, state.test),
});
const seedsInWords = () => (header.seeds.length === 1 ? `seed ${header.seeds[0]}` : state.seed === "mean" ? `mean over ${header.seeds.length} seeds` : `seed ${state.seed}`);
const apart = (x, y) => known(x.low) && known(y.low) && (x.low > y.high || x.high < y.low);

// everything that is told of one cell of the matrix
function cellOf(i, t) {
  const { e, s, a, m, j } = now(), metric = header.metrics[m];
  const [from, to] = [header.generators[i].title, header.generators[t].title];
  const mine = cell(e, j, s, m, i, t);
  const where = `Trained on ${from}, tested on ${to}${i === t ? " (its own generator, in no mean)" : ""}`;
  if (!known(mine.value)) return { label: `${where}: not evaluated, as the feature set was selected on one of the two.`, text: "–", css: "none", mine };
  const alone = `${metric.title} ${show(mine.value)} (${between(mine.low, mine.high)})`;
  const css = i === t ? "own" : "";
  if (a < 0) {
    const sign = metric.higher ? 1 : -1;
    const beyond = known(mine.low) && (sign > 0 ? mine.low > metric.chance : mine.high < metric.chance);
    return { label: `${where}: ${alone}${beyond ? "; better than chance" : ""}.`, value: mine.value, text: show(mine.value, 2).replace(/^0/, ""), mark: beyond, css, mine };
  }
  const other = cell(e, j, a, m, i, t);
  if (!known(other.value)) return { label: `${where}: ${alone}; the other feature set was not evaluated here.`, text: "–", css: "none", mine, other };
  const difference = mine.value - other.value, mark = apart(mine, other);
  return { label: `${where}: difference ${signed(difference)}; ${alone} against ${show(other.value)} (${between(other.low, other.high)}). ${mark ? "The intervals do not overlap." : "The intervals overlap."}`,
    value: difference, text: signed(difference, 2).replace(/0\./, "."), mark, css, mine, other };
}

let matrix;
function drawTransfer() {
  const { e, s, a, m } = now(), metric = header.metrics[m], G = header.generators;
  const cells = G.map((_, i) => G.map((_, t) => cellOf(i, t)));
  const values = cells.flat().map((c) => c.value).filter(known);
  const scale = a < 0 ? levelScale(metric) : differenceScale(metric, Math.max(0, ...values.map(Math.abs)));
  for (const one of cells.flat()) if (known(one.value)) one.color = scale.color(one.value);
  matrix = grid($("#matrix"), {
    label: "Transfer matrix. Arrow keys move between cells, Enter chooses one.", rows: G, columns: G,
    at: (i, t) => cells[i][t], pressed: [now().i, now().t],
    choose: (i, t) => set({ train: G[i].id, test: G[t].id }, "cell"), hear: (text) => { $("#told").textContent = text; },
  });
  $("#told").textContent = cells[now().i][now().t].label;
  const better = a < 0 ? [scale.chance ? "chance or worse" : "or worse", "best"] : [show(scale.ends[0], 2), show(scale.ends[1], 2)];
  const words = a < 0 ? [`${+scale.ends[0].toFixed(3)} (${better[0]})`, `${scale.ends[1]} (${better[1]})`] : [metric.higher ? `${better[0]} (worse)` : `${better[0]} (better)`, metric.higher ? `+${better[1]} (better)` : `+${better[1]} (worse)`];
  scaleBar($("#legend"), scale, words);
  const seeds = header.seeds.length > 1 && state.seed === "mean" ? " Intervals are the means of the seeds' own." : "";
  const drawn = cells.flat().some((c) => known(c.value) && !known(c.mine.low)) ? " A control that is drawn many times has no interval." : "";
  $("#transfer-note").textContent = (a < 0
    ? `A dot marks cells whose ${percent()} interval leaves out chance.`
    : `A dot marks cells in which the two ${percent()} intervals do not overlap: a stricter rule than a paired test, and with ${values.length} cells still no proof for any one of them.`)
    + ` A dashed frame: tested on the generator trained on. A dash: not evaluated, as the set was selected on that generator.${seeds}${drawn}`;
  drawMeans(e, s, a, m, cells);
}

function drawMeans(e, s, a, m, cells) {
  const metric = header.metrics[m], row = meanRow(e, now().j, s, m, place(header.groups, "all"));
  const parts = [];
  if (row) {
    parts.push(`${header.sets[s].title}: mean ${metric.title} ${show(row.value)} over ${row.cells} cells off the diagonal (${between(row.value_generators_low, row.value_generators_high)} over generators; ${between(row.low, row.high)} over photographs; ${seedsInWords()}).`);
    if (known(row.difference)) parts.push(`Against all columns on the same cells: ${signed(row.difference)} (${between(row.generators_low, row.generators_high, signed)} over generators, p after Holm ${show(row.generators_p_holm, 4)}; ${between(row.difference_low, row.difference_high, signed)} over photographs).`);
  }
  if (a >= 0) {
    const off = cells.flatMap((line, i) => line.filter((c, t) => i !== t && known(c.value)));
    const marked = off.filter((c) => c.mark).length;
    parts.push(`Against ${header.sets[a].title}, cell by cell (${off.length} common cells): ${signed(mean(off.map((c) => c.value)))} on average, ${off.filter((c) => (metric.higher ? c.value > 0 : c.value < 0)).length} better, ${marked} told apart.`);
  }
  $("#means").textContent = parts.join(" ");
  asTable(cells);
}

function asTable(cells) {
  const holder = $("#as-table .scroll"), G = header.generators;
  holder.replaceChildren();
  if (!$("#as-table").open) return;
  table(holder, $("#means").textContent, [["Trained on", ""], ...G.map((g) => [g.title, "num"])],
    cells.map((line, i) => ({ cells: [G[i].title, ...line.map((c) => (known(c.value) ? (now().a < 0 ? show(c.value) : signed(c.value)) : "–"))] })));
}

function transferRows() {
  const { e, s, a, m, j } = now(), rows = [["run", "encoder", "seed", "feature_set", "metric", "train", "test", "value", "low", "high", ...(a < 0 ? [] : ["against", "against_value", "against_low", "against_high", "difference", "intervals_apart"])]];
  header.generators.forEach((from, i) => header.generators.forEach((to, t) => {
    const mine = cell(e, j, s, m, i, t);
    if (!known(mine.value)) return;
    const row = [header.run, state.encoder, state.seed, state.set, state.metric, from.id, to.id, mine.value, mine.low, mine.high];
    if (a >= 0) {
      const other = cell(e, j, a, m, i, t);
      row.push(state.against, other.value, other.low, other.high, mine.value - other.value, known(other.value) ? apart(mine, other) : "");
    }
    rows.push(row);
  }));
  return rows;
}
