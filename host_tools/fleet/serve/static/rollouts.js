// Rollouts: all of them, and one that is followed live.
import { html, useContext, useMemo } from "./preact-htm.js";
import { Address, Link } from "./address.js";
import { query } from "./ask.js";
import { History } from "./audit.js";
import { Actions } from "./dialog.js";
import { Gates } from "./gates.js";
import { Make, usePlanning } from "./making.js";
import { orders } from "./orders.js";
import { Answered, Card, Chip, Facts, Filters, Lines, Moment, Pages, Said, Table, Title } from "./parts.js";
import { may, Session, useAnswers } from "./session.js";
import { Overall, progress, Stages } from "./stages.js";
import { devices, length, takes, whole, words } from "./words.js";

export const OPEN = ["running", "paused", "rolling_back", "awaiting_approval", "draft"];
const ENDED = ["finished", "rolled_back", "aborted"];
const about = (kinds) => (event) => kinds.includes(event.kind);

export const ROLLOUT_COLUMNS = [
  { title: "Rollout", show: (one) => html`<${Link} to=${{ view: "rollout", id: one.id }}>${one.id}<//>` },
  { title: "State", show: (one) => html`<${Chip} name=${one.state} />` },
  { title: "Release", show: (one) => html`<${Link} to=${{ view: "release", id: one.plan.release }}>${one.plan.release}<//>` },
  { title: "Group", show: (one) => html`<${Link} to=${{ view: "group", id: one.plan.group }}>${one.plan.group}<//>` },
  { title: "Stage", show: (one) => stageWord(one) },
  { title: "Changed", show: (one) => html`<${Moment} seconds=${one.changed_seconds} />` },
  { title: "Why", show: (one) => html`<span class="in-words"><${Said} text=${one.reason} /></span>` },
];

function stageWord({ plan, stages, state }) {
  const begun = stages.filter((one) => one.began_seconds !== null).length;
  if (state === "finished" || !begun) return begun ? "all" : "none";
  return `${plan.stages[begun - 1].name} (${begun} of ${stages.length})`;
}

export function RolloutsView() {
  const { shown } = useContext(Address);
  const asked = useAnswers([`/rollouts${query({ state: shown.state, group: shown.group, after: shown.after })}`, "/groups?limit=1000", "/releases?limit=1000"], (event) => event.kind === "rollout" || (event.kind === "audit" && /^(release|group)\//.test(event.subject)));
  return html`<${Title} text="Rollouts" />
    <${Answered} asked=${asked}>${([page, groups, releases]) => html`
      <${Planning} releases=${releases.items} groups=${groups.items} />
      <${Filters} choices=${[{ name: "state", title: "State", options: [...OPEN, ...ENDED] }, { name: "group", title: "Group", options: groups.items.map((one) => one.name) }]} />
      <section class="card"><${Table} caption="Rollouts, by name" isSaidAbove columns=${ROLLOUT_COLUMNS} rows=${page.items} keyOf=${(one) => one.id} empty=${shown.state || shown.group ? "No rollout is like that." : "No rollout yet."} /><${Pages} next=${page.next} what="rollouts" /></section>`}<//>`;
}

const Planning = ({ releases, groups }) => html`<${Make} action=${usePlanning(releases, groups)} />`;

export function RolloutView() {
  const { shown } = useContext(Address);
  const id = encodeURIComponent(shown.id);
  const asked = useAnswers([`/rollouts/${id}`, `/rollouts/${id}/explain`, "/drift"], (event) => event.subject === `rollout/${shown.id}` || (event.kind === "devices" && event.changed));
  return html`<${Title} text=${shown.id} chip=${asked.answers?.[0].state} above=${html`<${Link} to=${{ view: "rollouts" }}>Rollouts<//>`} />
    <${Answered} asked=${asked}>${([rollout, explained, drift]) => html`<${Rollout} rollout=${rollout} explained=${explained} drift=${drift} reload=${asked.load} />`}<//>`;
}

function Rollout({ rollout, explained, drift, reload }) {
  const { me } = useContext(Session);
  const { plan } = rollout;
  const inGroup = drift.find((one) => one.group === plan.group);
  const enrolled = inGroup ? inGroup.as_desired + inGroup.underway + inGroup.differing + inGroup.silent + inGroup.free : 0;
  const size = Math.max(enrolled - explained.members.pinned, 0); // those that it can reach
  const actions = useMemo(() => orders(rollout, explained, size).map((one) => ({ ...one, act: async () => { await one.act(); await reload(); } })), [rollout, explained, size]);
  return html`
    <p class="lead"><${Link} to=${{ view: "release", id: plan.release }}>${plan.release}<//> to group <${Link} to=${{ view: "group", id: plan.group }}>${plan.group}<//>. Planned by ${rollout.created_by}, <${Moment} seconds=${rollout.created_seconds} />.</p>
    <p class="unseen" role="status" aria-live="polite">${progress(explained)} ${words(rollout.state)}.</p>
    <section class="card" aria-label="Where it is">
      ${rollout.reason && html`<div class="main-why"><b>Why:</b> <${Lines} text=${rollout.reason} /></div>`}
      ${(explained.members.selector || explained.members.came > 0 || explained.members.left > 0 || explained.members.pinned > 0) && html`<p class="main-why"><b>Who:</b> <${Said} text=${who(explained.members)} /></p>`}
      <p class="main-why"><b>Next:</b> <${NextStep} text=${explained.next_step} /></p>
      <${Actions} actions=${actions} may=${(needed) => may(me.role, needed)} role=${me.role} />
      <${Overall} explained=${explained} size=${size} />
    </section>
    <${Card} title="Stages" id="stages"><${Stages} explained=${explained} plan=${plan} /><//>
    <${Card} title="Gates" id="gates"><${Gates} findings=${explained.gates} hasEnded=${ENDED.includes(rollout.state)} /><//>
    <${Jobs} id=${rollout.id} />
    <${Card} title="Plan" id="plan"><${Plan} plan=${plan} /><//>
    <${History} subject="rollout/${rollout.id}" />`;
}

const who = ({ selector, now, came, left, pinned }) => `${selector ? `the group takes devices with ${takes(selector)}; ` : ""}${devices(now)} now, ${came} came after their stage had begun and got the release at once, ${left} left and follow another group${pinned ? `, ${pinned === 1 ? "1 has a desired state of its own and is" : `${whole(pinned)} have desired states of their own and are`} left out` : ""}.`;

// The server's words name commands in backticks.
const NextStep = ({ text }) => text.split("`").map((part, place) => (place % 2 ? html`<code>${part}</code>` : html`<${Said} text=${part} />`));

const JOB_COLUMNS = [
  { title: "Device", show: (one) => html`<${Link} to=${{ view: "device", id: one.device }}>${one.device}<//>` },
  { title: "State", show: (one) => html`<${Chip} name=${one.result === "none" ? one.state : one.result} />` },
  { title: "In its words", show: (one) => html`<span class="in-words"><${Said} text=${one.reason} /></span>` },
  { title: "Stage", number: true, show: (one) => one.stage + 1 },
  { title: "Attempts", number: true, show: (one) => one.attempts },
  { title: "Changed", show: (one) => html`<${Moment} seconds=${one.changed_seconds} />` },
];
const KINDS = { failed: { result: "failure" }, scheduled: { state: "scheduled" }, download: { state: "download" }, downloaded: { state: "downloaded" }, proceeding: { state: "proceeding" }, canceled: { state: "canceled" }, succeeded: { result: "success" }, all: {} };

function Jobs({ id }) {
  const { shown, go } = useContext(Address);
  const kind = KINDS[shown.jobs] ? shown.jobs : "failed";
  const asked = useAnswers([`/rollouts/${encodeURIComponent(id)}/jobs${query({ ...KINDS[kind], after: shown.after, limit: 50 })}`], (event) => event.subject === `rollout/${id}`);
  const choose = (event) => go({ ...shown, jobs: event.currentTarget.value, after: "" }, { keepFocus: true });
  const choice = html`<label>Show <select name="jobs" onChange=${choose}>${Object.keys(KINDS).map((name) => html`<option key=${name} value=${name} selected=${name === kind}>${name}</option>`)}</select></label>`;
  return html`<${Card} title="Jobs" id="jobs" aside=${choice}>
    <${Answered} asked=${asked}>${([page]) => html`<${Table} caption=${kind === "failed" ? "Jobs that failed, with the devices' words" : `Jobs: ${kind}`} columns=${JOB_COLUMNS} rows=${page.items} keyOf=${(one) => one.device} empty=${kind === "failed" ? "No job failed." : "None."} /><${Pages} next=${page.next} what="jobs" />`}<//>
  <//>`;
}

function Plan({ plan }) {
  const days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
  const clock = (seconds) => `${String(Math.floor(seconds / 3600)).padStart(2, "0")}:${String(Math.floor(seconds / 60) % 60).padStart(2, "0")}`;
  const windows = plan.windows.map((one) => `${one.weekdays.map((day) => days[day]).join(", ")} ${clock(one.begin_seconds)}–${clock(one.end_seconds)} UTC`);
  return html`<${Facts} facts=${[
    ["Stages begin", windows.length ? windows.join("; ") : "at any time"],
    ["A device that is there may take", length(plan.job_seconds)],
    ["Absent devices are waited for", length(plan.absent_seconds)],
    ["A gate that decides nothing is waited for", length(plan.hold_seconds)],
    ["When it stops by itself", plan.rolls_back ? "the release is taken back" : "devices keep what they have"],
    ["Needs approval", plan.needs_approval ? "yes" : "no"],
    ["May go below what devices have kept", plan.allow_downgrade ? "yes" : "no"],
  ]} />`;
}
