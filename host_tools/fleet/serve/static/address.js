// The address holds the view: `?view=rollout&id=r1`. A link shows it again, and Back works.
import { html, useContext, createContext } from "./preact-htm.js";

export const Address = createContext({ shown: {}, go: () => {} });

export const readAddress = () => {
  const shown = Object.fromEntries(new URLSearchParams(location.search));
  return { ...shown, view: shown.view ?? "fleet" };
};

export function written(shown) {
  const filled = Object.entries(shown).filter(([name, value]) => value !== "" && value !== undefined && value !== null && !(name === "view" && value === "fleet"));
  const text = new URLSearchParams(filled).toString();
  return text ? `?${text}` : location.pathname;
}

export function Link({ to, children, ...more }) {
  const { go } = useContext(Address);
  const follow = (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(to);
  };
  return html`<a href=${written(to)} onClick=${follow} ...${more}>${children}</a>`;
}
