// Elements without HTML from data, and numbers as people read them. Whatever a device said is only ever text.
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const digits = (value) => (Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3))));
const dash = (show) => (value) => (value === null || value === undefined ? "–" : show(value));

export const whole = dash((value) => Math.round(value).toLocaleString("en"));
export const short = dash(digits);
export const seconds = dash((value) => (value < 1e-3 ? `${digits(value * 1e6)} µs` : value < 1 ? `${digits(value * 1e3)} ms` : `${digits(value)} s`));
export const percent = dash((value) => `${digits(value * 100)} %`);
export const watts = dash((value) => (value < 1 ? `${digits(value * 1e3)} mW` : `${digits(value)} W`));
export const joules = dash((value) => (value < 1 ? `${digits(value * 1e3)} mJ` : `${digits(value)} J`));
export const celsius = dash((value) => `${digits(value)} °C`);
export const moment = dash((value) => (value > 0 ? new Date(value * 1e3).toISOString().slice(0, 19).replace("T", " ") : "never"));

export function span(length) {
  for (const [unit, size] of [["days", 86400], ["hours", 3600], ["minutes", 60]]) if (length >= 2 * size) return `${digits(length / size)} ${unit}`;
  return `${digits(length)} seconds`;
}

export function table(columns, rows, options = {}) {
  const head = element("tr", {}, ...columns.map((column) => element("th", { scope: "col", class: column.number ? "number" : null, "aria-sort": column.sorted ?? null }, column.head ?? column.title)));
  const body = rows.map((row) => element("tr", { class: options.rowClass?.(row) }, ...columns.map((column) => element("td", { class: column.number ? "number" : null }, column.show(row)))));
  return element("table", {}, options.caption ? element("caption", {}, options.caption) : null, element("thead", {}, head), element("tbody", {}, ...body));
}
