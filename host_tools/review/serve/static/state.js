// What is looked at stands in the address, and nowhere else: to share a view is to share its address.
const ONE = { range: "24h", start: "", end: "", level: "", device: "", by: "target", inner: "", color: "latency_p95", sort: "latency_p95", order: "descending", page: "1", search: "", status: "", live: "" };
const MANY = ["artifact", "label"];
export const RANGES = ["1h", "6h", "24h", "7d", "30d", "90d"];
export const RANGE_SECONDS = { "1h": 3600, "6h": 21600, "24h": 86400, "7d": 604800, "30d": 2592000, "90d": 7776000 };

export function read(search = location.search) {
  const query = new URLSearchParams(search);
  const state = {};
  for (const [name, usual] of Object.entries(ONE)) state[name] = query.get(name) ?? usual;
  for (const name of MANY) state[name] = query.getAll(name);
  return state;
}

export function query(state, names = null) {
  const result = new URLSearchParams();
  for (const [name, usual] of Object.entries(ONE)) if ((names === null || names.includes(name)) && state[name] !== "" && (names !== null || state[name] !== usual)) result.set(name, state[name]);
  for (const name of MANY) if (names === null || names.includes(name)) for (const value of state[name]) result.append(name, value);
  return result;
}

export const address = (state) => {
  const text = query(state).toString();
  return text ? `?${text}` : location.pathname;
};

const TIME = ["range", "start", "end", "level"];
export const asked = (state, ...more) => query({ ...state, range: state.start ? "" : state.range }, [...TIME, "artifact", "label", ...more]).toString();

export const isRelative = (state) => state.start === "" || state.end === "";
