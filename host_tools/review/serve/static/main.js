// The page: reads its address, asks for what that shows, draws it, and writes the address anew when something is chosen.
import { element, moment, span } from "./dom.js";
import { address, asked, isRelative, RANGE_SECONDS, RANGES, read } from "./state.js";
import { deviceView, fleetView } from "./views.js";

const LIVE_SECONDS = 5;
const place = (id) => document.getElementById(id);
let state = read(), running = null, shown = null;

export function go(changes, { replace = false } = {}) {
  state = { ...state, ...changes };
  history[replace ? "replaceState" : "pushState"](null, "", address(state));
  return show();
}

const link = (changes, ...children) => element("a", { href: address({ ...state, ...changes }), onclick: (event) => { if (!event.metaKey && !event.ctrlKey && !event.shiftKey) { event.preventDefault(); go(changes); } } }, ...children);
const context = { go: (...given) => go(...given), link, asked, get: fetched, get state() { return state; }, move };

async function fetched(path, signal) {
  const response = await fetch(path, { signal, headers: { Accept: "application/json" } });
  if (!response.ok) {
    let message = `${response.status} ${response.statusText}`;
    try { const { error } = await response.json(); message = error.message; } catch { /* no JSON: the status says it */ }
    throw new Error(message);
  }
  return response.json();
}

async function show() {
  running?.abort();
  const mine = (running = new AbortController());
  const content = place("content");
  content.setAttribute("aria-busy", "true");
  content.classList.add("busy");
  crumbs();
  controls();
  try {
    shown = await (state.device ? deviceView : fleetView)(content, context, mine.signal);
    if (mine.signal.aborted) return;
    place("trouble").hidden = true;
    const level = span(shown.level);
    place("state").textContent = shown.newest ? `${moment(shown.start)} to ${moment(shown.end)} UTC in windows of ${level}. Newest message ${moment(shown.newest)} UTC.` : "Nothing was received yet.";
  } catch (error) {
    if (mine.signal.aborted) return;
    place("trouble").textContent = error.message;
    place("trouble").hidden = false;
  } finally {
    if (!mine.signal.aborted) { content.removeAttribute("aria-busy"); content.classList.remove("busy"); document.documentElement.dataset.drawn = String(Number(document.documentElement.dataset.drawn ?? 0) + 1); }
  }
}

function crumbs() {
  const parts = [link({ artifact: [], device: "", label: [], page: "1", status: "", search: "" }, "Fleet")];
  for (const label of state.label) parts.push(element("span", {}, "›"), link({ label: state.label.filter((one) => one !== label), page: "1" }, `${label} ✕`));
  if (state.artifact.length) parts.push(element("span", {}, "›"), link({ device: "" }, state.artifact.map((digest) => digest.replace("sha256:", "").slice(0, 12)).join(" against ")));
  if (state.device) parts.push(element("span", {}, "›"), element("a", { "aria-current": "page" }, state.device));
  place("crumbs").replaceChildren(...parts);
  document.title = `${state.device || (state.artifact.length ? "Artifact" : "Fleet")} – Edgewright review`;
}

// Moves or scales the time: by a share of its length to the right, and by a factor.
export function move(share, factor) {
  if (!shown) return;
  const length = shown.end - shown.start, middle = (shown.end + shown.start) / 2 + share * length, half = Math.max((length * factor) / 2, 30);
  go({ start: String(Math.round(Math.max(middle - half, 0))), end: String(Math.round(middle + half)), level: "", live: "" });
}

function controls() {
  const focused = document.activeElement?.id;
  const button = (id, text, label, act, more = {}) => element("button", { id, type: "button", "aria-label": label, title: label, onclick: act, ...more }, text);
  const ranges = RANGES.map((name) => button(`range-${name}`, name, `The last ${span(RANGE_SECONDS[name])}`, () => go({ range: name, start: "", end: "", level: "" }), { "aria-pressed": String(isRelative(state) && state.range === name) }));
  const steps = [button("earlier", "◀", "Earlier", () => move(-0.5, 1)), button("later", "▶", "Later", () => move(0.5, 1)), button("closer", "+", "Zoom in", () => move(0, 0.5)), button("farther", "−", "Zoom out", () => move(0, 2))];
  const level = element("select", { id: "level", onchange: (event) => go({ level: event.target.value }) }, ...[["", "automatic"], ["10", "10 s"], ["60", "1 min"], ["3600", "1 h"], ["86400", "1 day"]].map(([value, text]) => element("option", { value, selected: state.level === value }, text)));
  const live = button("live", state.live ? "❚❚ Pause" : "● Live", state.live ? "Pause: stop following" : `Live: follow, every ${LIVE_SECONDS} seconds`, () => go(state.live ? { live: "" } : { live: "1", start: "", end: "" }), { "aria-pressed": String(Boolean(state.live)) });
  const share = button("share", "Copy link", "Copy a link to what is seen, with its time", copyLink);
  const part = asked(state, "device");
  const file = (kind) => element("a", { id: `export-${kind}`, href: `export/timeline.${kind}?${part}`, download: `timeline.${kind}` }, kind === "csv" ? "CSV" : "Parquet");
  place("controls").replaceChildren(element("span", { class: "together", role: "group", "aria-label": "Length of time" }, ...ranges), element("span", { class: "together", role: "group", "aria-label": "Move in time" }, ...steps), element("label", {}, "Windows", level), live, share, element("span", { class: "together", role: "group", "aria-label": "Export what is seen" }, button("export-png", "PNG", "Save the chart as a picture", savePicture), file("csv"), file("parquet")));
  if (focused) place(focused)?.focus();
}

async function copyLink() {
  const fixed = shown ? { ...state, start: String(shown.start), end: String(shown.end), level: state.level || String(shown.level), live: "" } : state;
  const text = new URL(address(fixed), location.href).href;
  try { await navigator.clipboard.writeText(text); place("state").textContent = "The link is copied; it shows this time, also later."; } catch { await go({ start: fixed.start, end: fixed.end, level: fixed.level, live: "" }); place("state").textContent = "Copy the address of this page: it shows this time, also later."; }
}

function savePicture() {
  const chart = place("timeline-chart");
  if (chart?.data) window.Plotly.downloadImage(chart, { format: "png", width: 1400, height: 800, scale: 2, filename: `edgewright-${state.device || "fleet"}` });
}

addEventListener("popstate", () => { state = read(); show(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show());
setInterval(() => { if (state.live && !document.hidden && !place("content").hasAttribute("aria-busy")) show(); }, LIVE_SECONDS * 1e3);
if (new URLSearchParams(location.search).has("token")) history.replaceState(null, "", address(state)); // the cookie has it now
show();
