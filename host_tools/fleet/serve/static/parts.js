// Small pieces that every view is made of. Texts are children, never markup.
import { html, useContext, useEffect, useState } from "./preact-htm.js";
import { Address, Link } from "./address.js";
import { ago, moment, short, visible, whole, words } from "./words.js";

export const GOOD = { up: 1, enrolled: 1, passed: 1, finished: 1, success: 1, good: 1 };
const CARE = { degraded: 1, draining: 1, pending: 1, awaiting_approval: 1, paused: 1, undecided: 1, canceled: 1, not_measured: 1, unavailable: 1, absent: 1 };
const BAD = { down: 1, revoked: 1, failed: 1, failure: 1, stopped: 1, rolled_back: 1, rolling_back: 1, aborted: 1, rejected: 1 };
const SIGNS = { good: "✓", care: "!", bad: "✕", plain: "•" };
const tone = (name) => (GOOD[name] ? "good" : CARE[name] ? "care" : BAD[name] ? "bad" : "plain");

// A state: a sign, a colour and the word.
export function Chip({ name }) {
  const kind = tone(name);
  return html`<span class="chip ${kind}"><span aria-hidden="true">${SIGNS[kind]}</span> ${words(name)}</span>`;
}

export const Said = ({ text }) => html`<bdi class="said">${visible(text)}</bdi>`;

// The first line, and the others behind a click.
export function Lines({ text, more = "The figures" }) {
  const [first, ...others] = text.split("\n");
  return html`<p class="line"><${Said} text=${first} /></p>${others.length > 0 && html`<details><summary>${more}</summary>${others.map((line) => html`<p class="line"><${Said} text=${line} /></p>`)}</details>`}`;
}

export const Digest = ({ digest }) => html`<code title=${digest ?? ""}>${short(digest)}</code>`;

export function Moment({ seconds, relative = false }) {
  if (seconds === null || seconds === undefined) return relative ? "never" : "–";
  const exact = moment(seconds);
  return html`<time datetime=${new Date(seconds * 1e3).toISOString()} title=${exact}>${relative ? ago(seconds) : exact}</time>`;
}

// Columns: { title, show(row), number }. It scrolls within itself where it is too wide, by keys too.
export function Table({ caption, isSaidAbove, columns, rows, empty = "None.", keyOf }) {
  if (!rows.length) return html`<p class="soft">${empty}</p>`;
  return html`<div class="scroll" role="region" aria-label=${caption} tabindex="0"><table>
    <caption class=${isSaidAbove ? "unseen" : ""}>${caption}</caption>
    <thead><tr>${columns.map((column) => html`<th scope="col" class=${column.number ? "number" : ""}>${column.title}</th>`)}</tr></thead>
    <tbody>${rows.map((row) => html`<tr key=${keyOf?.(row)}>${columns.map((column, place) => (place ? html`<td class=${column.number ? "number" : ""}>${column.show(row)}</td>` : html`<th scope="row" class=${column.number ? "number" : ""}>${column.show(row)}</th>`))}</tr>`)}</tbody>
  </table></div>`;
}

// A bar of parts [{ name, count, kind }]; the numbers stand beside it, so it is hidden from a screen reader.
export function Bar({ parts, total, className = "" }) {
  const whole_ = total || parts.reduce((sum, part) => sum + part.count, 0) || 1;
  return html`<div class="bar ${className}" aria-hidden="true">${parts.filter((part) => part.count).map((part) => html`<span key=${part.name} class=${part.kind} style=${{ width: `${(100 * part.count) / whole_}%` }} title="${words(part.name)}: ${whole(part.count)}"></span>`)}</div>`;
}

export function Legend({ parts }) {
  return html`<ul class="legend">${parts.map((part) => html`<li key=${part.name} class=${part.count ? "" : "none"}><span class="swatch ${part.kind}" aria-hidden="true"></span>${whole(part.count)} ${words(part.name)}</li>`)}</ul>`;
}

export const Facts = ({ facts }) => html`<dl class="facts">${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
export const Tile = ({ name, count, to, kind = "" }) => html`<li class="tile ${kind}">${to ? html`<${Link} to=${to}><b>${whole(count)}</b> ${name}<//>` : html`<b>${whole(count)}</b> ${name}`}</li>`;
export const Card = ({ title, id, children, aside }) => html`<section class="card" aria-labelledby=${id}><div class="row head"><h2 id=${id}>${title}</h2>${aside}</div>${children}</section>`;

// What was asked for, or why it is not there.
export function Answered({ asked, children }) {
  const { answers, problem } = asked;
  return html`
    ${problem && html`<div class="problem" role="alert"><p><${Said} text=${problem.message} />${problem.isAway && answers ? " What is shown is as it was." : ""}</p>${problem.hint && html`<p class="soft"><${Said} text=${problem.hint} /></p>`}</div>`}
    ${answers ? children(answers) : !problem && html`<p class="soft" aria-busy="true">Asking the server…</p>`}`;
}

// The heading of a view. It has the focus after a link was followed, so that a screen reader says where one is.
export function Title({ text, chip, above }) {
  useEffect(() => { document.title = `${visible(text)} – Edgewright fleet`; }, [text]);
  return html`<div class="title">${above && html`<p class="above">${above}</p>`}<h1 id="title" tabindex="-1"><${Said} text=${text} /></h1>${chip && html`<${Chip} name=${chip} />`}</div>`;
}

// Choices that stand in the address; they take effect at once, text after Enter or when it is left.
export function Filters({ choices }) {
  const { shown, go } = useContext(Address);
  const set = (name) => (event) => go({ ...shown, [name]: event.currentTarget.value.trim(), after: "" }, { keepFocus: true });
  return html`<form class="filters" role="search" onSubmit=${(event) => { event.preventDefault(); document.activeElement?.blur?.(); }}>
    ${choices.map(({ name, title, options }) => html`<label key=${name}>${title}
      ${options
        ? html`<select name=${name} onChange=${set(name)}><option value="" selected=${!shown[name]}>any</option>${options.map((one) => html`<option key=${one.value ?? one} value=${one.value ?? one} selected=${shown[name] === (one.value ?? one)}>${visible(one.text ?? words(one))}</option>`)}</select>`
        : html`<${TextFilter} name=${name} value=${shown[name] ?? ""} set=${set(name)} />`}
    </label>`)}
  </form>`;
}

function TextFilter({ name, value, set }) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  return html`<input name=${name} type="search" value=${text} onInput=${(event) => setText(event.currentTarget.value)} onChange=${set} autocomplete="off" spellcheck="false" />`;
}

export function Pages({ next, what }) {
  const { shown } = useContext(Address);
  if (!next && !shown.after) return null;
  return html`<nav class="pages" aria-label="Pages of ${what}">${shown.after && html`<${Link} to=${{ ...shown, after: "" }}>First page<//>`}${next && html`<${Link} to=${{ ...shown, after: next }}>Next page<//>`}</nav>`;
}
