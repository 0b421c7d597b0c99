// ---- the data: one compressed block, read once --------------------------------------------------
let header, store, start0;
const cache = new Map();

async function readData() {
  const text = atob(document.getElementById("data").textContent.trim());
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const inflated = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  store = new Uint8Array(await new Response(inflated).arrayBuffer());
  const length = new DataView(store.buffer).getUint32(0, true);
  header = JSON.parse(new TextDecoder().decode(store.subarray(4, 4 + length)));
  start0 = 4 + length;
}

// numbers (NaN where there is none) or indices (-1 where there is none); null where the run has no such array
function numbers(name) {
  const place = header.arrays[name];
  if (!place) return null;
  if (!cache.has(name)) {
    const at = start0 + place.at, n = place.length, signed = place.type === "int16";
    const found = signed ? new Float64Array(n) : new Int32Array(n);
    for (let i = 0; i < n; i++) {
      const whole = store[at + i] | (store[at + n + i] << 8);
      if (signed) found[i] = whole === 0x8000 ? NaN : ((whole << 16) >> 16) / place.scale;
      else found[i] = whole === 0xffff ? -1 : whole;
    }
    cache.set(name, found);
  }
  return cache.get(name);
}

function bytesOf(name, i) {
  const place = header.arrays[name];
  return store.subarray(start0 + place.at + place.ends[i], start0 + place.at + place.ends[i + 1]);
}

function thumbnail(i) {
  let text = "";
  for (const byte of bytesOf("thumbnails", i)) text += String.fromCharCode(byte);
  return "data:image/jpeg;base64," + btoa(text);
}

const place = (list, id) => list.findIndex((one) => (one.id ?? one) === id);
const mean = (values) => {
  const known = values.filter((x) => !Number.isNaN(x));
  return known.length ? known.reduce((a, b) => a + b, 0) / known.length : NaN;
};
const known = (x) => x != null && !Number.isNaN(x);

// A cell: value, low and high. Over several seeds these are the means of the seeds' own.
function cell(encoder, seed, set, metric, train, test) {
  const [J, S, M, G] = [header.seeds, header.sets, header.metrics, header.generators].map((x) => x.length);
  const [v, below, above] = ["cells", "below", "above"].map(numbers);
  const seeds = seed < 0 ? [...Array(J).keys()] : [seed];
  const at = seeds.map((j) => ((((encoder * J + j) * S + set) * M + metric) * G + train) * G + test);
  return { value: mean(at.map((i) => v[i])), low: mean(at.map((i) => v[i] - below[i])), high: mean(at.map((i) => v[i] + above[i])) };
}

// A row of the table of means, or null
function meanRow(encoder, seed, set, metric, group) {
  const keys = numbers("means_key"), values = numbers("means"), K = header.mean_columns.length;
  const wanted = header.seeds.length === 1 ? -1 : seed;
  for (let r = 0; r < keys.length / 8; r++) {
    const [e, j, s, m, g, cells, better, of] = keys.subarray(8 * r, 8 * r + 8);
    if (e === encoder && j === wanted && s === set && m === metric && g === group) {
      const row = { cells, better, of };
      header.mean_columns.forEach((name, k) => { row[name] = values[r * K + k]; });
      return row;
    }
  }
  return null;
}
