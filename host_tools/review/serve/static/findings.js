// Findings come after everything else: to look for them takes longer than to show what is there.
import { element, table } from "./dom.js";

const FIRST = 6; // the gravest; the others are folded away
const TONES = { pass: "up", marginal: "warning", fail: "error" };

export function findingsCard(page, signal) {
  const { state } = page, body = element("div", { id: "findings-body" }, element("p", { class: "soft" }, "Looking …"));
  const title = state.device ? "Findings" : state.artifact.length === 2 ? "B against A" : "Findings";
  const load = async () => {
    try {
      body.replaceChildren(...report(await page.get(`api/findings?${page.asked(state, "device")}`, signal), page));
    } catch (error) {
      if (!signal.aborted) body.replaceChildren(element("p", { class: "soft" }, error.message));
    }
  };
  load();
  return element("section", { class: "card", "aria-labelledby": "findings" }, element("h2", { id: "findings" }, title), body);
}

function report(found, page) {
  const verdict = element("p", {}, element("span", { class: `chip ${TONES[found.tone]}` }, found.verdict), " ", element("span", { class: "soft" }, found.subtitle));
  const items = found.findings.map((one) => element("li", { class: `found ${one.severity}` },
    element("p", {}, element("span", { class: `chip ${one.severity}` }, one.severity), " ", one.what),
    element("p", { class: "soft" }, one.facts.join("; ")),
    one.first_devices.length ? element("p", { class: "soft" }, "Devices: ", ...one.first_devices.flatMap((device) => [page.link({ device }, device), " "]), one.devices.includes(" more") ? one.devices.slice(one.devices.lastIndexOf(" and ")) : "") : null,
    ...one.explanations.map((text) => element("p", {}, `Goes with: ${text}`)),
    element("p", {}, `Next: ${one.next_step}`)));
  const tables = found.tables.map((one) => element("details", { open: one.title === "All devices" || one.title.startsWith("Beside") }, element("summary", {}, one.title), table(one.columns.map((title, place) => ({ title, number: one.numbers.includes(title), show: (row) => row[place] })), one.rows, { caption: one.note })));
  const notes = found.notes.length ? [element("ul", { class: "soft" }, ...found.notes.map((note) => element("li", {}, note)))] : [];
  const list = (some) => element("ul", { class: "found-list" }, ...some);
  const more = items.length > FIRST ? [element("details", {}, element("summary", {}, `${items.length - FIRST} more findings`), list(items.slice(FIRST)))] : [];
  return [verdict, ...(items.length ? [list(items.slice(0, FIRST))] : []), ...more, ...tables, ...notes];
}
