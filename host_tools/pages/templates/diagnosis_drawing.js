// Elements and charts. Text only ever enters as text: names come from the user's model.
const SVG = "http://www.w3.org/2000/svg";

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

function shape(tag, attributes, text = null) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== null) made.textContent = text;
  return made;
}

const decibels = (value) => (value === null ? "exact" : `${value.toFixed(1)} dB`);
const gained = (value) => (value === null ? "–" : `${value >= 0 ? "+" : "−"}${Math.abs(value).toFixed(2)} dB`);
const percent = (value) => (value === 0 ? "0 %" : value < 0.001 ? "< 0.1 %" : `${(100 * value).toFixed(1)} %`);
const short = (value) => (value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(1) : String(Number(value.toPrecision(4))));

function ticks(low, high, count) {
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= raw);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) found.push(Number(at.toPrecision(12)));
  return found;
}

// SQNR lines above, shares of the output's error below; one column a layer.
function layerChart(layers, selected, onSelect, onHover) {
  const width = 1040, top = 12, middle = 220, bottom = 330, left = 46, right = 8;
  const svg = shape("svg", { class: "dx", viewBox: `0 0 ${width} ${bottom + 26}`, role: "img", "aria-label": "SQNR and share of the error by layer" });
  const ratios = layers.flatMap((layer) => [layer.cumulative_db, layer.local_db]).filter((value) => value !== null);
  const high = Math.max(10, ...ratios), low = Math.min(0, ...ratios);
  const most = Math.max(0.01, ...layers.map(shareOf));
  const step = (width - left - right) / Math.max(layers.length, 1);
  const x = (index) => left + step * (index + 0.5);
  const y = (value) => middle - ((Math.min(value, high) - low) / (high - low)) * (middle - top);
  const bar = (value) => bottom - (value / most) * (bottom - middle - 26);
  for (const tick of ticks(low, high, 5)) {
    svg.append(shape("line", { class: "axis", x1: left, x2: width - right, y1: y(tick), y2: y(tick) }));
    svg.append(shape("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, tick));
  }
  for (const value of [0, most]) svg.append(shape("text", { x: left - 6, y: bar(value) + 4, "text-anchor": "end" }, `${(100 * value).toFixed(0)} %`));
  svg.append(shape("line", { class: "axis", x1: left, x2: width - right, y1: bottom, y2: bottom }));
  svg.append(shape("text", { x: left, y: bottom + 20 }, "first layer"), shape("text", { x: width - right, y: bottom + 20, "text-anchor": "end" }, "last layer"));
  layers.forEach((layer, index) => {
    const chosen = layer.name === selected;
    if (chosen) svg.append(shape("rect", { x: x(index) - step / 2, y: top, width: step, height: bottom - top, fill: "var(--chosen)" }));
    svg.append(shape("rect", { x: x(index) - step * 0.38, y: bar(shareOf(layer)), width: Math.max(step * 0.76, 1), height: bottom - bar(shareOf(layer)), fill: "var(--warm)", opacity: chosen ? 1 : 0.75 }));
  });
  for (const [key, color] of [["local_db", "var(--second)"], ["cumulative_db", "var(--accent)"]]) {
    const points = layers.map((layer, index) => [index, layer[key]]).filter(([, value]) => value !== null);
    svg.append(shape("polyline", { points: points.map(([index, value]) => `${x(index)},${y(value)}`).join(" "), fill: "none", stroke: color, "stroke-width": 1.6 }));
    for (const [index, value] of points) svg.append(shape("circle", { cx: x(index), cy: y(value), r: layers[index].name === selected ? 4.5 : 2.4, fill: color }));
  }
  svg.append(shape("text", { x: left + 4, y: top + 8 }, "SQNR in dB"));
  layers.forEach((layer, index) => {
    const target = shape("rect", { class: "dx-hit", x: x(index) - step / 2, y: top, width: step, height: bottom - top, fill: "transparent", "data-layer": layer.name });
    target.append(shape("title", {}, `${layer.name}: ${percent(shareOf(layer))} of the error`));
    target.addEventListener("click", () => onSelect(layer.name));
    target.addEventListener("mouseenter", () => onHover(layer));
    svg.append(target);
  });
  return svg;
}

// Square roots of the shares, so that tails are seen beside the bulk; shaded where there are no codes.
function histogramChart(tensor) {
  const width = 460, height = 130, base = 104, { low, high, shares } = tensor.histogram;
  const svg = shape("svg", { class: "dx", viewBox: `0 0 ${width} ${height}`, width, role: "img", "aria-label": `Histogram of ${tensor.name} with its range` });
  const x = (value) => ((value - low) / (high - low)) * width;
  const most = Math.sqrt(Math.max(...shares)) || 1;
  const step = width / shares.length;
  shares.forEach((share, index) => {
    if (share === 0) return;
    const top = base - Math.max((Math.sqrt(share) / most) * (base - 6), 1);
    const middle = low + ((index + 0.5) / shares.length) * (high - low);
    const kept = middle >= tensor.low && middle <= tensor.high;
    svg.append(shape("rect", { x: index * step + 0.5, y: top, width: Math.max(step - 1, 0.5), height: base - top, fill: kept ? "var(--accent)" : "var(--bad)" }));
  });
  svg.append(shape("line", { class: "axis", x1: 0, x2: width, y1: base, y2: base }));
  for (const [value, anchor] of [[tensor.low, "start"], [tensor.high, "end"]]) {
    const at = Math.min(Math.max(x(value), 1), width - 1);
    svg.append(shape("line", { x1: at, x2: at, y1: 2, y2: base, stroke: "var(--ink)", "stroke-dasharray": "4 3", "stroke-width": 1.4 }));
    svg.append(shape("text", { class: "strong", x: anchor === "start" ? at + 4 : at - 4, y: 11, "text-anchor": anchor }, short(value)));
  }
  svg.append(shape("text", { x: 0, y: base + 16 }, short(low)), shape("text", { x: width, y: base + 16, "text-anchor": "end" }, short(high)));
  svg.append(shape("text", { x: width / 2, y: base + 16, "text-anchor": "middle" }, tensor.histogram.origin));
  return svg;
}

function ladderChart(target) {
  const rungs = [{ layers: [], sqnr_db: target.output_sqnr_db }, ...target.ladder];
  const most = Math.max(1, ...rungs.map((rung) => rung.sqnr_db ?? 60));
  const table = element("table", {});
  for (const rung of rungs) {
    const bar = element("span", { class: "dx-bar", style: `width:${Math.max(0, (rung.sqnr_db ?? 60) / most) * 110}px` });
    table.append(element("tr", { title: rung.layers.join("\n") }, element("td", { class: "number" }, `${rung.layers.length}`), element("td", {}, bar, decibels(rung.sqnr_db))));
  }
  return table;
}
