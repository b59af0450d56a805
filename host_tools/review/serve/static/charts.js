// Figures of Plotly from answers. Texts are escaped: Plotly reads tags in them.
import { span, seconds } from "./dom.js";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
export const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const CONFIG = { displaylogo: false, responsive: true, displayModeBar: false, doubleClick: false, showTips: false };
const GAP = 3; // a line is broken where nothing came for so many of its usual intervals
const MARKED_POINTS = 300;

export function theme() {
  return { paper_bgcolor: css("--paper"), plot_bgcolor: css("--paper"), font: { color: css("--ink"), size: 12, family: "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif" }, margin: { l: 64, r: 16, t: 30, b: 36 }, hoverlabel: { bgcolor: css("--wash"), bordercolor: css("--line"), font: { color: css("--ink") } }, dragmode: "zoom", autosize: true };
}

const axis = (more = {}) => ({ gridcolor: css("--line"), linecolor: css("--line"), zerolinecolor: css("--line"), automargin: false, ...more });

// Points with a value, and a hole where the usual rhythm is broken: neither bridges an outage nor loses a lonely window.
function broken(times, values) {
  const kept = [];
  for (let place = 0; place < times.length; place++) if (values[place] !== null) kept.push(place);
  const steps = kept.slice(1).map((place, index) => times[place] - times[kept[index]]).sort((a, b) => a - b);
  const usual = steps.length ? steps[Math.floor(steps.length / 2)] : 0;
  const x = [], y = [];
  kept.forEach((place, index) => {
    if (index && times[place] - times[kept[index - 1]] > GAP * usual) { x.push(times[place] * 1e3 - 1); y.push(null); }
    x.push(times[place] * 1e3); y.push(values[place]);
  });
  return { x, y, count: kept.length };
}

function line(times, values, name, color, more = {}) {
  const { x, y, count } = broken(times, values);
  return { type: "scatter", mode: count <= MARKED_POINTS ? "lines+markers" : "lines", marker: { size: 3 }, x, y, name: plain(name), line: { color, width: 1.6, dash: more.dash }, yaxis: more.yaxis, hovertemplate: `%{y:.4~g}${more.unit ?? ""}<extra>${plain(name).replaceAll("%{", "% {")}</extra>`, showlegend: more.legend ?? false, ...more.trace };
}

function heatTrace(answer, one, color, times) {
  const totals = times.map((_, column) => one.heat.reduce((sum, row) => sum + row[column], 0));
  const z = one.heat.map((row) => row.map((count, column) => (count ? (100 * count) / totals[column] : null)));
  const paper = css("--paper");
  return { type: "heatmap", x: times.map((time) => time * 1e3), y: answer.edges.map((edge) => edge * 1e3), z, zmin: 0, zmax: 40, colorscale: [[0, mix(color, paper, 0.12)], [0.25, mix(color, paper, 0.45)], [1, color]], showscale: false, opacity: 0.85, hovertemplate: `about %{y:.3~g} ms: %{z:.2~g} %<extra>${plain(one.name).replaceAll("%{", "% {")}</extra>`, hoverongaps: false };
}

function mix(one, other, share) {
  const parse = (text) => [1, 3, 5].map((place) => parseInt(text.slice(place, place + 2), 16));
  const a = parse(one), b = parse(other);
  return `rgb(${a.map((value, place) => Math.round(value * share + b[place] * (1 - share))).join(",")})`;
}

// Ticks at 1, 2 and 5 of each power of ten, in milliseconds.
function decades(edges) {
  if (edges.length < 2) return {};
  const low = Math.log10(edges[0] * 1e3), high = Math.log10(edges[edges.length - 1] * 1e3), steps = high - low > 2.5 ? [1] : [1, 2, 5], tickvals = [];
  for (let power = Math.floor(low); power <= high; power++) for (const step of steps) tickvals.push(Number((step * 10 ** power).toPrecision(1)));
  return { tickvals, ticktext: tickvals.map(String), range: [low, high] };
}

const middle = (answer) => answer.times.map((time) => time + answer.shown.level / 2);

export function timelineFigure(answer) {
  const times = middle(answer), isOverlay = answer.lines.length > 1;
  const colors = [css("--accent"), css("--warm"), css("--second"), css("--bad")];
  const traces = [];
  answer.lines.forEach((one, place) => {
    const color = colors[place % colors.length], suffix = isOverlay ? ` ${one.name}` : "";
    if (answer.edges.length > 1) traces.push(heatTrace(answer, one, color, times));
    const ink = isOverlay ? color : css("--ink");
    for (const [name, dash] of [["p50", "solid"], ["p95", "dash"], ["p99", "dot"]]) traces.push(line(times, one[name].map((value) => (value === null ? null : value * 1e3)), name + suffix, ink, { dash, unit: " ms", legend: true }));
    traces.push(line(times, one.watts, "power" + suffix, isOverlay ? color : css("--warm"), { yaxis: "y2", unit: " W" }));
    traces.push(line(times, one.celsius, "mean temperature" + suffix, isOverlay ? color : css("--second"), { yaxis: "y3", unit: " °C" }));
    traces.push(line(times, one.celsius_max, "hottest" + suffix, isOverlay ? color : css("--bad"), { yaxis: "y3", unit: " °C", dash: "dot" }));
    traces.push(line(times, one.throttled_share.map((value) => (value === null ? null : value * 100)), "throttled" + suffix, isOverlay ? color : css("--bad"), { yaxis: "y4", unit: " %", trace: isOverlay ? {} : { fill: "tozeroy" } }));
  });
  const roll = [css("--accent"), css("--warm"), css("--second"), "#cc79a7", "#e69f00", "#56b4e9", "#8a8f98", "#6b4c9a"];
  answer.rollout.forEach((one, place) => {
    const overlaid = answer.lines.findIndex((shown) => isOverlay && shown.artifact === one.artifact);
    traces.push({ type: "scatter", mode: "lines", x: times.map((time) => time * 1e3), y: one.devices, name: plain(one.name), yaxis: "y5", stackgroup: "rollout", line: { width: 0.5, color: overlaid < 0 ? roll[place % roll.length] : colors[overlaid % colors.length] }, hovertemplate: `%{y} devices<extra>${plain(one.name).replaceAll("%{", "% {")}</extra>`, showlegend: false });
  });
  const marks = answer.markers;
  if (marks.length) {
    traces.push({ type: "scatter", mode: "markers", x: marks.map((mark) => mark.time * 1e3), y: marks.map(() => 1), yaxis: "y6", showlegend: false, hoverinfo: "text", hovertext: marks.map(markText), marker: { symbol: marks.map((mark) => (mark.name === "first_seen" ? "diamond" : "triangle-down")), size: 10, color: marks.map((mark) => ({ error: css("--bad"), warning: css("--care") })[mark.severity] ?? css("--soft")) } });
  }
  const title = (text) => ({ text, font: { size: 11 } });
  const filled = (name) => traces.some((trace) => (trace.yaxis ?? "y") === name && trace.y.length);
  const lowest = (name) => (filled(name) ? { rangemode: "tozero" } : { range: [0, 1], showticklabels: false });
  const absent = [["y", "nothing was inferred"], ["y2", "power was not measured"], ["y3", "temperature was not measured"], ["y4", "throttling was not measured"]].filter(([name]) => !filled(name));
  // An axis without a trace is not drawn, and nothing can be placed by it.
  const domains = { y: [0.55, 0.965], y2: [0.42, 0.52], y3: [0.28, 0.39], y4: [0.15, 0.25], y5: [0, 0.12] };
  const layout = {
    ...theme(), height: 800, legend: { orientation: "h", y: 1.0, yanchor: "bottom", x: 0 }, hovermode: "x",
    xaxis: axis({ type: "date", range: [answer.shown.start * 1e3, answer.shown.end * 1e3], anchor: "y5", showspikes: true, spikemode: "across", spikethickness: 1, spikecolor: css("--soft"), spikedash: "dot" }),
    yaxis: axis({ title: title("latency, ms"), type: "log", domain: domains.y, fixedrange: true, ...decades(answer.edges) }),
    yaxis2: axis({ title: title("power, W"), domain: domains.y2, fixedrange: true, ...lowest("y2"), nticks: 4 }),
    yaxis3: axis({ title: title("heat, °C"), domain: domains.y3, fixedrange: true, ...(filled("y3") ? {} : { range: [0, 1], showticklabels: false }), nticks: 4 }),
    yaxis4: axis({ title: title("throttled, %"), domain: domains.y4, fixedrange: true, ...lowest("y4"), nticks: 4 }),
    yaxis5: axis({ title: title("devices"), domain: domains.y5, fixedrange: true, ...lowest("y5"), nticks: 4 }),
    yaxis6: { domain: [0.97, 1.0], fixedrange: true, visible: false, range: [0, 2] },
    annotations: absent.map(([name, text]) => ({ text, xref: "paper", x: 0.5, yref: "paper", y: (domains[name][0] + domains[name][1]) / 2, showarrow: false, font: { color: css("--soft") } })),
    shapes: marks.map((mark) => ({ type: "line", xref: "x", yref: "paper", x0: mark.time * 1e3, x1: mark.time * 1e3, y0: 0, y1: 0.98, line: { color: css("--soft"), width: 1, dash: "dot" } })),
  };
  return { traces: traces.filter((trace) => trace.type === "heatmap" || trace.y.length), layout };
}

const markText = (mark) => plain(`${mark.count > 1 ? `${mark.count} × ` : ""}${mark.name.replaceAll("_", " ")}${mark.device ? ` on ${mark.device}` : ""}: ${mark.text}`.slice(0, 160));

export function timelineWords(answer) {
  const parts = answer.lines.map((one) => {
    const told = one.p95.map((value, place) => [value, place]).filter(([value]) => value !== null);
    if (!told.length) return `${one.name}: nothing was inferred`;
    const [most, at] = told.reduce((best, next) => (next[0] > best[0] ? next : best));
    return `${one.name}: p95 ${seconds(one.total.latency_p95)} over all, at most ${seconds(most)} in the window of ${new Date(answer.times[at] * 1e3).toISOString().slice(0, 16).replace("T", " ")} UTC`;
  });
  return `Latency, power, temperature, throttling and devices by artifact over ${span(answer.shown.end - answer.shown.start)}. ${parts.join(". ")}. Arrow keys move in time, plus and minus zoom.`;
}

const SCALE = [[0, "#00224e"], [0.25, "#35456c"], [0.5, "#7d7c78"], [0.75, "#bbae6c"], [1, "#fee838"]]; // cividis: told apart by people with any colour vision
export const COLORS = {
  latency_p95: ["p95 latency, ms", (group) => (group.measures.latency_p95 === null ? null : group.measures.latency_p95 * 1e3)],
  not_up: ["not up, %", (group) => (100 * (group.devices - (group.statuses.up ?? 0))) / Math.max(group.devices, 1)],
  error_share: ["errors, %", (group) => (group.measures.error_share === null ? null : group.measures.error_share * 100)],
  throttled_share: ["throttled, %", (group) => (group.measures.throttled_share === null ? null : group.measures.throttled_share * 100)],
  celsius_max: ["hottest, °C", (group) => group.measures.celsius_max],
  joules: ["energy an inference, mJ", (group) => (group.measures.joules === null ? null : group.measures.joules * 1e3)],
};

const counted = (devices) => `${devices} ${devices === 1 ? "device" : "devices"}`;

export function groupsFigure(answer, color) {
  const [title, value] = COLORS[color] ?? COLORS.latency_p95;
  const ids = [], labels = [], parents = [], values = [], colors = [], texts = [], groups = [];
  const add = (id, label, parent, size, shade, text, group) => { ids.push(id); labels.push(plain(label || "(none)")); parents.push(parent); values.push(size); colors.push(shade); texts.push(text); groups.push(group); };
  const told = answer.groups.map(value).filter((one) => one !== null);
  const low = Math.min(...told), high = Math.max(...told);
  if (answer.inner !== null) {
    const outer = new Map();
    for (const group of answer.groups) outer.set(group.value, (outer.get(group.value) ?? 0) + group.devices);
    for (const [name, devices] of outer) add(`o:${name}`, name, "", devices, null, counted(devices), null);
  }
  for (const group of answer.groups) {
    const shade = value(group), label = answer.inner === null ? group.value : group.inner;
    add(`g:${group.value}\u0000${group.inner ?? ""}`, label, answer.inner === null ? "" : `o:${group.value}`, group.devices, shade, `${counted(group.devices)}<br>${title} ${shade === null ? "–" : Number(shade.toPrecision(3))}`, group);
  }
  const scaled = colors.map((shade) => (shade === null ? css("--line") : shadeOf(high > low ? (shade - low) / (high - low) : 0)));
  const trace = { type: "treemap", ids, labels, parents, values, text: texts, branchvalues: "total", textinfo: "label+text", hoverinfo: "label+text", marker: { colors: scaled, line: { width: 1, color: css("--paper") }, pad: { t: 20, l: 3, r: 3, b: 3 } }, textfont: { color: scaled.map((shade, place) => (colors[place] === null ? css("--ink") : isDark(shade) ? "#ffffff" : "#101010")) }, pathbar: { visible: false }, tiling: { pad: 2 } };
  return { traces: [trace], layout: { ...theme(), height: 380, margin: { l: 4, r: 4, t: 4, b: 4 } }, groups, legend: told.length ? { title, low, high } : null };
}

const isDark = (shade) => { const [r, g, b] = shade.match(/\d+/g).map(Number); return 0.299 * r + 0.587 * g + 0.114 * b < 140; };
export function shadeOf(share) {
  const place = Math.min(SCALE.findIndex(([at], index) => index + 1 === SCALE.length || SCALE[index + 1][0] >= share), SCALE.length - 2);
  const [from, low] = SCALE[place], [to, high] = SCALE[place + 1];
  return mix(high, low, (share - from) / (to - from));
}

export function readingsFigure(readings, shown, unit) {
  const colors = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", css("--ink")];
  const traces = readings.map((one, place) => line(one.times, one.values, one.name, colors[place % colors.length], { dash: ["solid", "dash", "dot"][Math.floor(place / colors.length) % 3], legend: true, unit: ` ${unit}` }));
  return { traces, layout: { ...theme(), height: 230, legend: { orientation: "h", y: 1.02, yanchor: "bottom" }, xaxis: axis({ type: "date", range: [shown.start * 1e3, shown.end * 1e3] }), yaxis: axis({ title: { text: plain(unit), font: { size: 11 } }, fixedrange: true }) } };
}

// When the window changes, Plotly forgets the height that it was given and takes its element's.
export function draw(place, figure) {
  place.style.height = `${figure.layout.height}px`;
  return window.Plotly.react(place, figure.traces, figure.layout, CONFIG);
}
