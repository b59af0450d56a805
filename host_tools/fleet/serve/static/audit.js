// The audit: who did what, newest first; and the last entries about one thing.
import { html, useContext, useState } from "./preact-htm.js";
import { Address, Link } from "./address.js";
import { ask, query, save } from "./ask.js";
import { Answered, Card, Filters, Lines, Moment, Pages, Said, Table, Title } from "./parts.js";
import { Session, useAnswers } from "./session.js";
import { moment, plural, share, short, words } from "./words.js";

const SUBJECTS = { rollout: "rollout", device: "device", group: "group", release: "release" };

function Subject({ text }) {
  const place = text.indexOf("/");
  const view = SUBJECTS[text.slice(0, place)];
  return view ? html`<${Link} to=${{ view, id: text.slice(place + 1) }}>${text}<//>` : html`<${Said} text=${text} />`;
}

function Details({ entry: { details: { reason, ...figures } } }) {
  const told = Object.entries(figures).filter(([, value]) => value !== "" && value !== null);
  const figure = (name, value) => (name === "share_ppm" ? `share: ${share(value)}` : name === "expires_seconds" ? `expires: ${moment(value)}` : `${words(name)}: ${typeof value === "number" ? Number(value.toPrecision(6)) : value}`);
  const text = told.map(([name, value]) => figure(name, value)).join(" · ");
  return html`<div class="in-words">${reason ? html`<${Lines} text=${String(reason)} />` : ""}${text && html`<p class="line soft"><${Said} text=${text} /></p>`}</div>`;
}

const COLUMNS = [
  { title: "No.", number: true, show: (one) => one.number },
  { title: "When", show: (one) => html`<${Moment} seconds=${one.seconds} />` },
  { title: "Who", show: (one) => html`<span class="nowrap"><${Said} text=${one.actor} /></span>` },
  { title: "Did", show: (one) => html`<code>${one.action}</code>` },
  { title: "To", show: (one) => html`<${Subject} text=${one.subject} />` },
  { title: "Details", show: (one) => html`<${Details} entry=${one} />` },
];

export function History({ subject }) {
  const asked = useAnswers([`/audit${query({ subject, order: "newest_first", limit: 20 })}`], (event) => event.kind === "audit" && event.subject === subject);
  const all = html`<${Link} to=${{ view: "audit", subject }}>All entries<//>`;
  return html`<${Card} title="What was done" id="history" aside=${all}><${Answered} asked=${asked}>${([page]) => html`<${Table} caption="The newest entries of the audit about ${subject}" isSaidAbove columns=${COLUMNS.filter((one) => one.title !== "To")} rows=${page.items} keyOf=${(one) => one.number} />`}<//><//>`;
}

export function AuditView() {
  const { shown } = useContext(Address);
  const { actor, action, subject, after } = shown;
  const asked = useAnswers([`/audit${query({ actor, action, subject, after, order: "newest_first", limit: 100 })}`], (event) => event.kind === "audit" && !after);
  return html`<${Title} text="Audit" />
    <p class="lead">Entries are only ever added, and each holds the digest of the one before. <${Check} /></p>
    <${Filters} choices=${[{ name: "actor", title: "Who" }, { name: "action", title: "Did" }, { name: "subject", title: "To" }]} />
    <section class="card"><${Answered} asked=${asked}>${([page]) => html`<${Table} caption="The audit, newest first" isSaidAbove columns=${COLUMNS} rows=${page.items} keyOf=${(one) => one.number} empty="No entry is like that." /><${Pages} next=${page.next} what="the audit" />`}<//></section>`;
}

function Check() {
  const { trouble } = useContext(Session);
  const [said, setSaid] = useState("");
  const check = async () => {
    setSaid("Looking at every entry…");
    try {
      const found = await ask("/audit/check");
      setSaid(found.whole ? `Whole: ${plural(found.entries, "entry", "entries")}, the newest with digest ${short(found.newest_digest)}.` : `Broken: ${found.broken}`);
    } catch (problem) {
      setSaid("");
      trouble(problem);
    }
  };
  return html`<span class="actions"><button type="button" onClick=${check}>Check the chain</button><button type="button" onClick=${() => save("/audit.jsonl", "audit.jsonl").catch(trouble)}>Save as JSON lines</button> <span role="status">${said}</span></span>`;
}
