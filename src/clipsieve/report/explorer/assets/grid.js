// ---- a grid of cells that the keyboard walks through: one tab stop, arrows, Home and End ------------
// options: rows, columns: {title}; at(i, j) -> {value, text, label, color, ink, css, mark};
// pressed: [i, j]; choose(i, j), hear(label): what to do on a click or Enter, and on hover or focus
function grid(holder, options) {
  const { rows, columns } = options, R = rows.length, C = columns.length;
  const room = roomOf(holder), narrow = room < 560;
  const titles = rows.map((row, i) => (narrow || options.numbered ? `${i + 1} ${row.title}` : row.title));
  const longest = Math.max(0, ...titles.map((t) => widthOf(t)));
  const left = Math.ceil(Math.min(longest, narrow ? room * 0.34 : 240)) + 8;
  const heads = columns.map((c, j) => (narrow || options.numbered ? `${j + 1}` : c.title));
  const tallest = Math.min(190, Math.max(...heads.map((t) => widthOf(t))));
  const sized = (beside) => Math.max(24, Math.min(options.most ?? 46, Math.floor((room - left - beside) / C)));
  // a title that is wider than its column is turned, and reaches beyond the last column
  const angled = tallest > sized(4) - 4;
  const right = angled ? Math.ceil(tallest * 0.64) : 4, size = sized(right);
  const top = angled ? Math.ceil(tallest * 0.77) + 14 : 20;
  const width = left + C * size + right, height = top + R * size + 4;
  const image = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": options.label });
  columns.forEach((c, j) => {
    const x = left + (j + 0.5) * size;
    const text = svg("text", angled ? { transform: `translate(${x + 4},${top - 6}) rotate(-50)` } : { x, y: top - 6, "text-anchor": "middle" }, image, cut(heads[j], 190));
    svg("title", {}, text, c.title);
  });
  rows.forEach((row, i) => {
    const text = svg("text", { x: left - 6, y: top + (i + 0.5) * size + 4, "text-anchor": "end" }, image, cut(titles[i], left - 8));
    svg("title", {}, text, row.title);
  });
  const nodes = [];
  let stop = options.pressed ? options.pressed[0] * C + options.pressed[1] : 0;
  const focus = (k) => { nodes[stop].setAttribute("tabindex", -1); stop = k; nodes[k].setAttribute("tabindex", 0); nodes[k].focus(); };
  const choose = (k) => {
    nodes.forEach((node, n) => node.setAttribute("aria-pressed", n === k));
    nodes[stop].setAttribute("tabindex", -1); stop = k; nodes[k].setAttribute("tabindex", 0);
    options.choose?.(Math.floor(k / C), k % C);
  };
  for (let k = 0; k < R * C; k++) {
    const i = Math.floor(k / C), j = k % C, told = options.at(i, j);
    const node = svg("g", { class: `cell ${told.css ?? ""}`, role: "button", tabindex: k === stop ? 0 : -1, "aria-label": told.label,
      "aria-pressed": Boolean(options.pressed) && k === stop, "data-row": i, "data-column": j }, image);
    svg("rect", { x: left + j * size, y: top + i * size, width: size - 1, height: size - 1, fill: told.color ? rgb(told.color) : null }, node);
    if (told.text && size >= 30) svg("text", { x: left + (j + 0.5) * size, y: top + (i + 0.5) * size + 4, "text-anchor": "middle", "font-size": size >= 38 ? 11.5 : 10 }, node, told.text).style.fill = told.color ? inkOn(told.color) : "";
    if (told.mark) svg("circle", { cx: left + (j + 1) * size - 6, cy: top + i * size + 5, r: 2.6, class: "significant" }, node).style.fill = told.color ? inkOn(told.color) : "currentColor";
    node.addEventListener("mouseenter", () => options.hear?.(told.label));
    node.addEventListener("focus", () => options.hear?.(told.label));
    node.addEventListener("click", () => { choose(k); options.hear?.(told.label); });
    node.addEventListener("keydown", (event) => {
      const row = Math.floor(k / C) * C;
      const to = { ArrowRight: (k % C) < C - 1 ? k + 1 : k, ArrowLeft: k % C ? k - 1 : k, ArrowDown: k + C < R * C ? k + C : k,
        ArrowUp: k >= C ? k - C : k, Home: event.ctrlKey ? 0 : row, End: event.ctrlKey ? R * C - 1 : row + C - 1 }[event.key];
      if (to != null) { event.preventDefault(); focus(to); }
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(k); options.hear?.(told.label); }
    });
    nodes.push(node);
  }
  holder.replaceChildren(image);
  return { select: (i, j) => { nodes.forEach((node, n) => node.setAttribute("aria-pressed", n === i * C + j)); } };
}

// the colours of a scale from end to end, with its two numbers
function scaleBar(holder, scale, words) {
  const W = 180, image = svg("svg", { width: W + 120, height: 34, role: "img", "aria-label": words.join(" to ") });
  for (let i = 0; i < 36; i++) {
    const x = scale.ends[0] + ((scale.ends[1] - scale.ends[0]) * (i + 0.5)) / 36;
    svg("rect", { x: 4 + i * 5, y: 2, width: 5.5, height: 12, fill: rgb(scale.color(x)) }, image);
  }
  svg("text", { x: 4, y: 29, class: "quiet" }, image, words[0]);
  svg("text", { x: 4 + W, y: 29, "text-anchor": "middle", class: "quiet" }, image, words[1]);
  holder.replaceChildren(image);
}
