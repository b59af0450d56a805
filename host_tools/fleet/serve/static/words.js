// Numbers, times and states as people read them.
const dash = (show) => (value) => (value === null || value === undefined ? "–" : show(value));
const digits = (value) => String(Number(value.toPrecision(3)));

export const whole = dash((value) => value.toLocaleString("en"));
export const devices = (count) => (count === 1 ? "1 device" : `${whole(count)} devices`);
export const plural = (count, one, many) => `${whole(count)} ${count === 1 ? one : many}`;
export const share = (ppm) => `${digits(ppm / 10_000)} %`;
export const percent = (ratio) => `${digits(100 * ratio)} %`;
export const words = (name) => name.replaceAll("_", " ");
export const short = dash((digest) => digest.replace("sha256:", "").slice(0, 12));
export const moment = dash((seconds) => `${new Date(seconds * 1e3).toISOString().slice(0, 16).replace("T", " ")} UTC`);
export const bytes = dash((size) => {
  for (const [unit, one] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]]) if (size >= one) return `${digits(size / one)} ${unit}`;
  return `${size} B`;
});

const UNITS = [["d", 86_400], ["h", 3_600], ["min", 60]];

export function length(seconds) {
  for (const [unit, size] of UNITS) if (seconds >= 2 * size || (seconds >= size && seconds % size === 0)) return `${digits(seconds / size)} ${unit}`;
  return `${digits(seconds)} s`;
}

export function ago(seconds) {
  if (seconds === null) return "never";
  const passed = Math.round(Date.now() / 1e3 - seconds);
  if (passed < 10) return "just now";
  const [unit, size] = UNITS.find(([, size]) => passed >= 2 * size) ?? ["s", 1];
  return `${whole(Math.floor(passed / size))} ${unit} ago`;
}

// Characters that command whatever shows them become visible: what a device says stays in its place.
export function visible(text) {
  return String(text).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, (one) => `⟨U+${one.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
}

export const MEASURES = {
  latency_p50: "Median latency",
  latency_p95: "p95 latency",
  energy_per_inference: "Energy per inference",
  temperature: "Temperature",
  throttled_share: "Throttled share of time",
  output_agreement: "Output disagreement",
  crashes: "Crashes",
};
const RATIOS = ["latency_p50", "latency_p95", "energy_per_inference"];

// A worsening with its sign and unit.
export function worsening(measure, value) {
  if (value === null) return "–";
  const sign = value < 0 ? "−" : "+", size = Math.abs(value);
  if (RATIOS.includes(measure)) return `${sign}${(100 * size).toFixed(1)} %`;
  if (measure === "throttled_share") return `${sign}${(100 * size).toFixed(2)} points`;
  if (measure === "output_agreement") return `${sign}${size.toFixed(4)}`;
  return measure === "temperature" ? `${sign}${size.toFixed(1)} °C` : `${sign}${digits(size)} per device-hour`;
}

export function limit(measure, worst) {
  if (RATIOS.includes(measure)) return `${digits(100 * worst)} %`;
  if (measure === "throttled_share") return `${digits(100 * worst)} points`;
  if (measure === "output_agreement") return digits(worst);
  return measure === "temperature" ? `${digits(worst)} °C` : `${digits(worst)} per device-hour`;
}

// What a group with a selector takes, as `rollout/members.py` says it.
export function takes(selector) {
  const either = [["home group", selector.groups], ["target", selector.targets], ["engine", selector.engines], ["agent version", selector.agent_versions]];
  const parts = [...selector.tags.map((tag) => `tag ${tag}`), ...either.filter(([, names]) => names.length).map(([what, names]) => `${what} ${names.join(" or ")}`)];
  if (selector.least_memory_bytes !== null) parts.push(`memory of at least ${selector.least_memory_bytes / 2 ** 20} MiB`);
  return parts.join(", ");
}
