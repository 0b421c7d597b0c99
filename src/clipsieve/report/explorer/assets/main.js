// ---- what is chosen, and the address that keeps it ------------------------------------------------------
const KEPT = ["encoder", "set", "against", "metric", "seed", "train", "test", "search", "step", "ranking", "head", "texts", "direction"];

function starting() {
  const G = header.generators;
  return { encoder: header.encoders[0].id, set: header.sets[Math.max(0, place(header.sets, header.baseline))].id, against: "", metric: place(header.metrics, "auc") >= 0 ? "auc" : header.metrics[0].id,
    seed: header.seeds.length > 1 ? "mean" : String(header.seeds[0]), train: G[0].id, test: G[Math.min(1, G.length - 1)].id };
}
function fromAddress() {
  const told = new URLSearchParams(location.hash.slice(1)), found = starting();
  const allowed = { encoder: header.encoders, set: header.sets, against: [...header.sets, ""], metric: header.metrics, train: header.generators, test: header.generators,
    seed: [...header.seeds.map(String), ...(header.seeds.length > 1 ? ["mean"] : [])] };
  for (const name of KEPT) {
    const value = told.get(name);
    if (value != null && (!allowed[name] || place(allowed[name], value) >= 0)) found[name] = value;
  }
  return found;
}
function keepAddress() {
  const told = new URLSearchParams();
  for (const name of KEPT) if (state[name] != null && state[name] !== "") told.set(name, state[name]);
  history.replaceState(null, "", "#" + told);
}

// change what is chosen, and draw again what depends on it
function set(changes, part) {
  state = { ...state, ...changes };
  if (part === "cell") drawCell();
  else if (part === "head") drawHeadTexts();
  else if (part === "step") drawRemoval();
  else if (part === "words") drawWords();
  else if (part === "ranking") drawHeads();
  else drawAll();
  keepAddress();
}
function drawAll() {
  for (const name of ["encoder", "set", "against", "metric", "seed"]) $(`#${name}`).value = state[name];
  const encoder = header.encoders[now().e];
  $("#warning").hidden = !encoder.random;
  $("#warning").textContent = "This encoder has random weights: its numbers show that the stages run, and mean nothing else.";
  for (const [name, draw] of [["transfer", drawTransfer], ["cell", drawCell], ["methods", drawMethods], ["removal", drawRemoval], ["heads", drawHeads], ["words", drawWords]]) {
    // one part that cannot be drawn must not take the others with it
    try { draw(); } catch (error) { console.error(name, error); }
  }
}

function fillControls() {
  const options = (node, list, first = []) => $(node).replaceChildren(...first, ...list.map((one) => new Option(one.title, one.id)));
  options("#encoder", header.encoders);
  for (const [node, first] of [["#set", []], ["#against", [new Option("nothing: show the values", "")]]]) {
    const groups = new Map();
    for (const one of header.sets) {
      const name = one.control ? `control: ${one.family}` : one.family;
      if (!groups.has(name)) groups.set(name, make("optgroup", { label: name }));
      groups.get(name).append(new Option(one.title, one.id));
    }
    $(node).replaceChildren(...first, ...groups.values());
  }
  options("#metric", header.metrics);
  $("#seed").replaceChildren(...(header.seeds.length > 1 ? [new Option(`mean over ${header.seeds.length} seeds`, "mean")] : []), ...header.seeds.map((s) => new Option(String(s), String(s))));
  for (const name of ["encoder", "set", "against", "metric", "seed"]) $(`#${name}`).addEventListener("change", (event) => set({ [name]: event.target.value }));
  $("#search").addEventListener("change", (event) => set({ search: event.target.value, step: null }, "step"));
  $("#step").addEventListener("input", (event) => set({ step: event.target.value }, "step"));
  $("#ranking").addEventListener("change", (event) => set({ ranking: event.target.value, head: null }, "ranking"));
  $("#texts").addEventListener("change", (event) => set({ texts: event.target.value }, "words"));
  $("#direction").addEventListener("change", (event) => set({ direction: event.target.value }, "words"));
  $("#as-table").addEventListener("toggle", drawTransfer);
  const tables = { transfer: transferRows, methods: methodRows, removal: removalRows, heads: headCsv, words: wordCsv };
  for (const button of document.querySelectorAll("[data-csv]")) button.addEventListener("click", () => download(`${header.run}-${button.dataset.csv}.csv`, tables[button.dataset.csv]()));
}

async function start() {
  try { await readData(); } catch (error) {
    $("#about").textContent = "This page could not be read: it needs a browser of 2023 or later (DecompressionStream), and the whole file.";
    throw error;
  }
  const tested = header.generators.length, encoders = header.encoders.map((e) => e.title).join(", ");
  $("#about").textContent = `${tested} generators, ${header.sets.length} feature sets; encoders: ${encoders}; seeds: ${header.seeds.join(", ")}. Choose what to see; the address keeps the choice. Labels: 0 = generated, 1 = real.`;
  $("#foot").textContent = `clipsieve ${header.version}. Numbers have four decimals; the run's files have all of them. This page asks nobody for anything and can be kept or sent on its own.`;
  fillControls();
  state = fromAddress();
  $("#controls").hidden = false;
  $("main").hidden = false;
  drawAll();
  startSearch();
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
  window.addEventListener("hashchange", () => { state = fromAddress(); drawAll(); });
  let width = innerWidth;
  window.addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; drawAll(); } });
}
start();
