// The two views: the fleet (all of it, or those with a label, or one artifact, or two laid over each other), and a device.
import { celsius, element, joules, moment, percent, seconds, short, table, watts, whole } from "./dom.js";
import { COLORS, draw, groupsFigure, readingsFigure, shadeOf, timelineFigure, timelineWords } from "./charts.js";
import { findingsCard } from "./findings.js";

const TABLE_ROWS = 200;
const REASON_LENGTH = 80; // what a device says of itself may be a page long; its own view has all of it
const atOnce = (time) => element("span", { class: "nowrap" }, moment(time));
const prose = (text) => element("span", { class: "prose" }, text);
const clipped = (text) => (text.length > REASON_LENGTH ? `${[...text].slice(0, REASON_LENGTH).join("")} …` : text);

export async function fleetView(content, page, signal) {
  const { state } = page, part = page.asked(state);
  const ranked = page.asked(state, "sort", "order", "page", "search", "status");
  const [fleet, timeline, groups, devices] = await Promise.all([
    page.get(`api/fleet?${part}`, signal), page.get(`api/timeline?${part}`, signal),
    page.get(`api/groups?${page.asked(state, "by", "inner")}`, signal), page.get(`api/devices?${ranked}`, signal),
  ]);
  if (signal.aborted) return timeline.shown;
  if (!timeline.shown.newest) {
    content.replaceChildren(element("h1", {}, "Fleet"), element("div", { class: "card" }, element("p", {}, "No device was heard yet. As soon as one speaks, Live shows it, or reload this page."), element("p", { class: "soft" }, "Does ", element("code", {}, "edgewright ingest"), " run with this store, is an agent running, and have both the same broker and topic root?"), deadLetters(fleet)));
    return timeline.shown;
  }
  const title = state.artifact.length > 1 ? "Two artifacts" : state.artifact.length ? timeline.lines[0].name : "Fleet";
  const chart = kept(content, "timeline-chart");
  content.replaceChildren(
    ...[element("h1", {}, title), overview(fleet, page), timelineCard(chart, timeline, page),
      findingsCard(page, signal), mapCard(content, groups, fleet, page), artifactsCard(fleet, page), devicesCard(devices, page)].filter(Boolean),
  );
  await drawTimeline(chart, timeline, page);
  restoreFocus(content);
  return timeline.shown;
}

export async function deviceView(content, page, signal) {
  const { state } = page, part = page.asked(state, "device");
  const [device, timeline] = await Promise.all([page.get(`api/device?${part}`, signal), page.get(`api/timeline?${part}`, signal)]);
  if (signal.aborted) return timeline.shown;
  const chart = kept(content, "timeline-chart"), row = device.row;
  const notes = [device.clock_note, device.missing ? `${whole(device.missing)} of its messages were sent and are not here.` : ""].filter(Boolean);
  content.replaceChildren(
    element("h1", {}, row.device, " ", chip(row.status), " ", element("span", { class: "soft" }, row.reason)),
    ...notes.map((note) => element("p", { class: "soft" }, note)),
    element("div", { class: "card" }, tiles(row.measures), facts(device)),
    timelineCard(chart, timeline, page), findingsCard(page, signal), ...readingCards(device), ...inputsCard(device), eventsCard(device),
  );
  await drawTimeline(chart, timeline, page);
  for (const card of content.querySelectorAll("[data-unit]")) await draw(card, readingsFigure(device.readings.filter((one) => unitOf(one.name) === card.dataset.unit), device.shown, card.dataset.unit));
  return timeline.shown;
}

// --- parts ---

function kept(content, id) {
  return content.querySelector(`#${id}`) ?? element("div", { id, class: "chart", role: "img", tabindex: "0", "aria-keyshortcuts": "ArrowLeft ArrowRight + -" });
}

const chip = (status) => element("span", { class: `chip ${status}` }, status);

function tiles(measures) {
  const tile = (value, text) => element("div", { class: "tile" }, element("b", {}, value), text);
  if (!measures) return element("p", { class: "soft" }, "Nothing was measured in this time.");
  return element("div", { class: "tiles" }, tile(whole(measures.inferences), "inferences"), tile(seconds(measures.latency_p50), "p50"), tile(seconds(measures.latency_p95), "p95"), tile(seconds(measures.latency_p99), "p99"), tile(percent(measures.error_share), "errors"), tile(whole(measures.dropped), "dropped frames"), tile(joules(measures.joules), "an inference"), tile(watts(measures.watts), "mean power"), tile(celsius(measures.celsius_max), "hottest"), tile(percent(measures.throttled_share), "throttled"), tile(whole(measures.gaps), "messages missing"));
}

function overview(fleet, page) {
  const chips = Object.entries(fleet.statuses).map(([status, count]) => {
    const link = page.link({ status: page.state.status === status ? "" : status, page: "1" }, `${whole(count)} ${status}`);
    link.className = `chip ${status}`;
    return element("li", {}, link);
  });
  const choose = element("select", { id: "filter", onchange: (event) => { if (event.target.value) page.go({ label: [...page.state.label, event.target.value], page: "1" }); } }, element("option", { value: "" }, "only devices with …"), ...Object.entries(fleet.label_values).flatMap(([key, values]) => (values.length > 1 ? values.map((value) => element("option", { value: `${key}=${value}` }, `${key} = ${value}`)) : [])));
  return element("div", { class: "card" }, element("div", { class: "row" }, element("ul", { class: "chips", "aria-label": "Devices by status" }, ...chips), element("label", {}, "Filter", choose)), tiles(fleet.total), deadLetters(fleet));
}

function deadLetters(fleet) {
  if (!fleet.dead_letters) return null;
  const letters = [{ title: "Received (UTC)", show: (row) => atOnce(row.received) }, { title: "Topic", show: (row) => row.topic }, { title: "Bytes", number: true, show: (row) => whole(row.payload_bytes) }, { title: "Why", show: (row) => prose(row.reason) }];
  return element("details", { id: "dead-letters" }, element("summary", {}, `Not understood: ${fleet.dead_letters >= 100 ? "100 messages or more" : fleet.dead_letters === 1 ? "1 message" : `${fleet.dead_letters} messages`}`), table(letters, fleet.latest_dead_letters, { caption: "The latest, whenever they came." }));
}

function timelineCard(chart, answer, page) {
  const details = element("details", {}, element("summary", {}, "As a table"));
  details.addEventListener("toggle", () => { if (details.open && details.children.length === 1) details.append(timelineTable(answer)); });
  const more = answer.markers_left_out ? "Only the latest thousand events are marked. " : "";
  return element("section", { class: "card", "aria-labelledby": "over-time" }, element("h2", { id: "over-time" }, "Over time"), chart, element("p", { class: "soft" }, `${more}Shades: share of a window's inferences by latency. Drag, or focus the chart and use ← → + −. ◆ an artifact is first seen, ▼ updates.`), details);
}

function timelineTable(answer) {
  const rows = answer.lines.flatMap((one) => answer.times.map((time, place) => ({ one, time, place }))).filter(({ one, place }) => one.devices[place]);
  const shownRows = rows.slice(-TABLE_ROWS);
  const columns = [{ title: "Time (UTC)", show: (row) => atOnce(row.time) }, ...(answer.lines.length > 1 ? [{ title: "Artifact", show: (row) => row.one.name }] : []), ...[["Devices", "devices", whole], ["Inferences", "inferences", whole], ["p50", "p50", seconds], ["p95", "p95", seconds], ["p99", "p99", seconds], ["Power", "watts", watts], ["Mean heat", "celsius", celsius], ["Hottest", "celsius_max", celsius], ["Throttled", "throttled_share", percent]].map(([title, name, show]) => ({ title, number: true, show: (row) => show(row.one[name][row.place]) }))];
  return table(columns, shownRows, { caption: rows.length > TABLE_ROWS ? `The last ${TABLE_ROWS} of ${rows.length} rows; CSV has all.` : "" });
}

async function drawTimeline(chart, answer, page) {
  chart.setAttribute("aria-label", timelineWords(answer));
  await draw(chart, timelineFigure(answer));
  chart.onkeydown = (event) => {
    const act = { ArrowLeft: [-0.25, 1], ArrowRight: [0.25, 1], "+": [0, 0.5], "=": [0, 0.5], "-": [0, 2] }[event.key];
    if (act && !event.ctrlKey && !event.metaKey && !event.altKey) { event.preventDefault(); page.move(...act); }
  };
  chart.removeAllListeners("plotly_relayout");
  chart.on("plotly_relayout", (change) => {
    const from = change["xaxis.range[0]"], to = change["xaxis.range[1]"];
    if (from !== undefined && to !== undefined) page.go({ start: String(Math.floor(utc(from))), end: String(Math.ceil(utc(to))), level: "", live: "" });
  });
  chart.removeAllListeners("plotly_click");
  chart.on("plotly_click", ({ points }) => { const mark = points.find((point) => point.data.yaxis === "y6"); const device = mark && answer.markers[mark.pointNumber].device; if (device) page.go({ device }); });
}

// Plotly gives dates as numbers or as texts in UTC.
const utc = (value) => (typeof value === "number" ? value : Date.parse(`${String(value).replace(" ", "T")}${/Z$/.test(value) ? "" : "Z"}`)) / 1e3;

function mapCard(content, answer, fleet, page) {
  const { state } = page, chart = content.querySelector("#map-chart") ?? element("div", { id: "map-chart", class: "chart", "aria-hidden": "true" });
  const menu = (id, text, chosen, entries, change) => element("label", {}, text, element("select", { id, onchange: (event) => change(event.target.value) }, ...entries.map(([value, name]) => element("option", { value, selected: value === chosen }, name))));
  const keys = Object.keys(fleet.labels);
  const by = keys.includes(state.by) ? keys : [state.by, ...keys];
  const menus = element("div", { class: "row" }, menu("map-by", "Groups by", state.by, by.map((key) => [key, key]), (value) => page.go({ by: value, inner: state.inner === value ? "" : state.inner })), menu("map-inner", "and by", state.inner, [["", "–"], ...keys.filter((key) => key !== state.by).map((key) => [key, key])], (value) => page.go({ inner: value })), menu("map-color", "Colour", state.color, Object.entries(COLORS).map(([key, [title]]) => [key, title]), (value) => page.go({ color: value })));
  const figure = groupsFigure(answer, state.color);
  const scale = figure.legend ? element("span", { class: "soft" }, `${figure.legend.title}: ${short(figure.legend.low)} `, element("span", { class: "bar", style: `width:90px;background:linear-gradient(90deg,${[0, 0.25, 0.5, 0.75, 1].map(shadeOf).join(",")})` }), ` ${short(figure.legend.high)}`) : null;
  if (scale) menus.append(scale);
  const enter = (group) => [...new Set([...state.label, `${answer.by}=${group.value}`, ...(answer.inner === null ? [] : [`${answer.inner}=${group.inner}`])])].filter((label) => !label.endsWith("="));
  const rows = table([{ title: answer.by, show: (group) => page.link({ label: enter(group), page: "1" }, group.value || "(none)") }, ...(answer.inner === null ? [] : [{ title: answer.inner, show: (group) => group.inner || "(none)" }]), { title: "Devices", number: true, show: (group) => whole(group.devices) }, { title: "Up", number: true, show: (group) => whole(group.statuses.up ?? 0) }, ...measureColumns], answer.groups, { caption: answer.left_out ? `The largest ${answer.groups.length} groups; ${answer.left_out} are left out.` : "" });
  queueMicrotask(async () => {
    await draw(chart, figure);
    chart.removeAllListeners("plotly_treemapclick");
    chart.on("plotly_treemapclick", ({ points }) => { const group = figure.groups[points[0].pointNumber]; if (group) page.go({ label: enter(group), page: "1" }); return false; });
  });
  return element("section", { class: "card", "aria-labelledby": "map" }, element("h2", { id: "map" }, "Map of groups"), menus, chart, element("details", {}, element("summary", {}, "As a table"), rows));
}

const measureColumns = [["Inferences", "inferences", whole], ["p50", "latency_p50", seconds], ["p95", "latency_p95", seconds], ["p99", "latency_p99", seconds], ["Errors", "error_share", percent], ["Energy", "joules", joules], ["Power", "watts", watts], ["Hottest", "celsius_max", celsius], ["Throttled", "throttled_share", percent]].map(([title, name, show]) => ({ title, name, number: true, show: (row) => show(row.measures?.[name]) }));

function artifactsCard(fleet, page) {
  const { state } = page;
  const box = (row) => row.artifact === null ? "" : element("input", { type: "checkbox", "aria-label": `Lay ${row.name} over another`, checked: state.artifact.includes(row.artifact), onchange: (event) => page.go({ artifact: event.target.checked ? [...state.artifact, row.artifact].slice(-2) : state.artifact.filter((one) => one !== row.artifact), page: "1" }) });
  const columns = [{ title: "Compare", show: box }, { title: "Artifact", show: (row) => row.artifact === null ? row.name : page.link({ artifact: [row.artifact], page: "1" }, row.name) }, { title: "Devices", number: true, show: (row) => whole(row.measures.devices) }, ...measureColumns];
  return element("section", { class: "card", "aria-labelledby": "artifacts" }, element("h2", { id: "artifacts" }, "Artifacts"), table(columns, fleet.artifacts, { caption: state.artifact.length ? "Only those chosen; “Fleet” above shows all." : "Choose two to lay them over each other." }));
}

function devicesCard(answer, page) {
  const { state } = page;
  const sorted = (name) => (answer.sort === name ? (answer.is_descending ? "descending" : "ascending") : null);
  const head = (title, name) => element("button", { id: `sort-${name}`, type: "button", onclick: () => page.go({ sort: name, order: answer.sort === name && answer.is_descending ? "ascending" : "descending", page: "1" }) }, title + ({ descending: " ▼", ascending: " ▲" }[sorted(name)] ?? ""));
  const sortable = new Set(["latency_p50", "latency_p95", "latency_p99", "error_share", "inferences", "joules", "watts", "celsius_max", "throttled_share"]);
  const columns = [{ head: head("Device", "device"), sorted: sorted("device"), show: (row) => element("span", { class: "id" }, page.link({ device: row.device }, row.device)) }, { head: head("Status", "status"), sorted: sorted("status"), show: (row) => element("span", {}, chip(row.status), ` ${clipped(row.reason)}`) }, { title: "Model", show: (row) => element("span", { class: "id" }, row.name) }, { head: head("Last heard (UTC)", "last_received"), sorted: sorted("last_received"), show: (row) => atOnce(row.last_received) }, ...measureColumns.map((column) => (sortable.has(column.name) ? { ...column, head: head(column.title, column.name), sorted: sorted(column.name) } : column))];
  const pages = Math.max(Math.ceil(answer.count / answer.page_size), 1);
  const turn = (text, page_, able) => element("button", { id: `turn-${text}`, type: "button", disabled: !able, onclick: () => page.go({ page: String(page_) }) }, text);
  const search = element("input", { id: "search", type: "search", value: state.search, placeholder: "part of an id", onchange: (event) => page.go({ search: event.target.value, page: "1" }) });
  const files = ["csv", "parquet"].map((kind) => element("a", { href: `export/devices.${kind}?${page.asked(state, "sort", "order", "search", "status")}`, download: `devices.${kind}` }, kind === "csv" ? "CSV" : "Parquet"));
  return element("section", { class: "card", "aria-labelledby": "devices" }, element("h2", { id: "devices" }, "Devices"), element("div", { class: "row" }, element("label", {}, "Search", search), turn("Previous", answer.page - 1, answer.page > 1), element("span", { class: "soft" }, `Page ${answer.page} of ${pages}, ${whole(answer.count)} devices${state.status ? `, only ${state.status}` : ""}; figures of ${moment(answer.shown.start)} to ${moment(answer.shown.end)} UTC`), turn("Next", answer.page + 1, answer.page < pages), ...files), table(columns, answer.rows));
}

function facts(device) {
  const known = { Artifact: device.row.artifact ?? "none", "First heard (UTC)": moment(device.first_received), "Last heard (UTC)": moment(device.row.last_received), ...device.row.labels };
  return element("details", {}, element("summary", {}, "What it is"), element("table", {}, element("tbody", {}, ...Object.entries(known).map(([name, value]) => element("tr", {}, element("th", { scope: "row" }, name), element("td", { class: "mono" }, value))))));
}

const UNITS = { celsius: "°C", watts: "W", volts: "V", amperes: "A", hertz: "Hz", ratio: "ratio", bytes: "bytes", joules_total: "J", joules: "J", total: "count", seconds: "s" };
function unitOf(name) {
  return UNITS[Object.keys(UNITS).find((suffix) => name.endsWith(`_${suffix}`))] ?? "value";
}

function readingCards(device) {
  const units = [...new Set(device.readings.map((one) => unitOf(one.name)))];
  if (!units.length) return [];
  return [element("section", { class: "card", "aria-labelledby": "sensors" }, element("h2", { id: "sensors" }, "Sensors"), ...units.map((unit) => element("div", { class: "chart", "data-unit": unit, role: "img", "aria-label": `Sensors in ${unit}: ${device.readings.filter((one) => unitOf(one.name) === unit).map((one) => one.name).join(", ")}` })))];
}

function inputsCard(device) {
  if (!device.inputs.length) return [];
  const digits = (value) => (value === null ? "–" : Number(value).toPrecision(4));
  const columns = [{ title: "Input", show: (row) => element("span", { class: "id" }, row.name) }, { title: "Frames looked at", number: true, show: (row) => whole(row.frames) }, { title: "Mean", number: true, show: (row) => digits(row.mean) }, { title: "Mean before", number: true, show: (row) => digits(row.mean_before) }, { title: "Deviation", number: true, show: (row) => digits(row.deviation) }, { title: "Smallest … largest", number: true, show: (row) => `${digits(row.minimum)} … ${digits(row.maximum)}` }, { title: "Saturated", number: true, show: (row) => (row.saturated === null ? "–" : `${(100 * row.saturated).toFixed(1)} %`) }, { title: "Stability index", number: true, show: (row) => digits(row.stability) }, { title: "Largest distance", number: true, show: (row) => digits(row.distance) }];
  return [element("section", { class: "card", "aria-labelledby": "inputs" }, element("h2", { id: "inputs" }, "Inputs"), element("p", { class: "soft" }, "The second half of this time, beside the first; of a sample of the frames. A stability index below 0.1 is next to no change, above 0.25 a large one; few frames make it larger."), table(columns, device.inputs))];
}

function eventsCard(device) {
  const columns = [{ title: "Time (UTC)", show: (row) => atOnce(row.time) }, { title: "What", show: (row) => element("span", { class: "id" }, `${row.kind} ${row.name}`) }, { title: "Severity", show: (row) => chip(row.severity) }, { title: "", show: (row) => prose(row.text) }];
  return element("section", { class: "card", "aria-labelledby": "events" }, element("h2", { id: "events" }, "Events"), device.events.length ? table(columns, device.events, { rowClass: (row) => row.severity }) : element("p", { class: "soft" }, "None in this time."));
}

function restoreFocus(content) {
  if (document.activeElement === document.body && content.dataset.focus) document.getElementById(content.dataset.focus)?.focus();
}

document.addEventListener("focusin", (event) => { const content = document.getElementById("content"); if (content.contains(event.target)) content.dataset.focus = event.target.id; });
