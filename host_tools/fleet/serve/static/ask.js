// Questions to the server. The token lives in this tab's session storage, and travels in a header only.
const KEY = "edgewright.fleet.token";
const ROOT = "api/v1";

export const token = {
  read: () => sessionStorage.getItem(KEY),
  keep: (text) => sessionStorage.setItem(KEY, text),
  forget: () => sessionStorage.removeItem(KEY),
};

// A refusal, as the server words it (RFC 9457), or that it cannot be reached (status 0).
export class Problem extends Error {
  constructor(status, { detail, expected = "", hint = "" }) {
    super(expected && !detail.includes(expected) ? `${detail} Expected ${expected}.` : detail);
    this.status = status;
    this.hint = hint;
  }

  get isAway() {
    return this.status === 0 || this.status >= 502;
  }
}

const headers = (more = {}) => ({ Authorization: `Bearer ${token.read() ?? ""}`, ...more });

export async function reach(path, options = {}) {
  let response;
  try {
    response = await fetch(`${ROOT}${path}`, { cache: "no-store", credentials: "omit", ...options, headers: headers(options.headers) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "The server cannot be reached.", hint: "The page goes on trying." });
  }
  if (response.ok) return response;
  let told = { detail: `The server answered ${response.status}.` };
  try {
    told = await response.json();
  } catch {
    // No problem document: whatever stands in between has answered. The status says it.
  }
  throw new Problem(response.status, told);
}

export async function ask(path, { method = "GET", body, signal } = {}) {
  const sent = body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  const response = await reach(path, { method, signal, ...sent });
  return response.status === 204 ? null : response.json();
}

export const query = (asked) => {
  const filled = Object.entries(asked).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return filled.length ? `?${new URLSearchParams(filled)}` : "";
};

// A link cannot show the token, so a file is fetched and handed to the browser.
export async function save(path, name) {
  const blob = await (await reach(path)).blob();
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
