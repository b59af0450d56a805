// The fleet at a glance, and one group.
import { html, useContext } from "./preact-htm.js";
import { Address, Link } from "./address.js";
import { Answered, Bar, Card, Chip, Digest, Legend, Pages, Said, Table, Tile, Title } from "./parts.js";
import { Claims } from "./claims.js";
import { claimFor, Make } from "./making.js";
import { artifactNames } from "./releases.js";
import { OPEN, ROLLOUT_COLUMNS } from "./rollouts.js";
import { useAnswers } from "./session.js";
import { devices, takes, visible, whole } from "./words.js";

const open = OPEN.map((state) => `/rollouts?state=${state}&limit=100`);
const concerns = (event) => ["devices", "rollout", "jobs"].includes(event.kind) || (event.kind === "audit" && /^(group|release)/.test(event.subject));

export function driftParts(drift) {
  return [
    { name: "as desired", count: drift.as_desired, kind: "good" },
    { name: "on the way", count: drift.underway, kind: "busy" },
    { name: "differing", count: drift.differing, kind: "bad" },
    { name: "silent", count: drift.silent, kind: "care" },
    { name: "nothing desired", count: drift.free, kind: "rest" },
  ];
}

export function FleetView() {
  const asked = useAnswers(["/overview", "/drift", "/groups?limit=1000", "/releases?limit=1000", ...open], concerns);
  return html`<${Title} text="Fleet" /><${Answered} asked=${asked}>${(answers) => html`<${Glance} answers=${answers} />`}<//>`;
}

function Glance({ answers: [overview, drift, groups, releases, ...pages] }) {
  const differing = drift.reduce((sum, one) => sum + one.differing, 0);
  const names = artifactNames(releases.items);
  const rollouts = pages.flatMap((page) => page.items);
  const pending = overview.by_state.pending ?? 0;
  const word = (count, one, many) => (count === 1 ? one : many);
  const tallies = (by, empty) => Object.entries(by).map(([name, count]) => ({ name: name || empty, count, raw: name })).sort((a, b) => b.count - a.count);
  return html`
    <ul class="tiles">
      <${Tile} name=${word(overview.devices, "device", "devices")} count=${overview.devices} to=${{ view: "devices" }} />
      <${Tile} name="enrolled" count=${overview.by_state.enrolled ?? 0} to=${{ view: "devices", state: "enrolled" }} />
      <${Tile} name=${word(pending, "waits for approval", "wait for approval")} count=${pending} kind=${pending ? "care" : ""} to=${{ view: "devices", state: "pending" }} />
      <${Tile} name=${word(differing, "runs something else than it shall", "run something else than they shall")} count=${differing} kind=${differing ? "bad" : ""} />
      <${Tile} name=${word(overview.open_rollouts, "open rollout", "open rollouts")} count=${overview.open_rollouts} to=${{ view: "rollouts" }} />
      <${Tile} name=${word(overview.open_effects, "change on its way to devices", "changes on their way to devices")} count=${overview.open_effects} />
    </ul>
    <${Card} title="Rollouts that have not ended" id="open-rollouts"><${Table} caption="Rollouts that have not ended" isSaidAbove columns=${ROLLOUT_COLUMNS} rows=${rollouts} keyOf=${(one) => one.id} empty="None: nothing is being rolled out." /><//>
    <${Card} title="Groups" id="groups"><${Groups} groups=${groups.items} drift=${drift} names=${names} byGroup=${overview.by_group} /><//>
    <div class="columns">
      <${Card} title="State" id="by-state"><${Tally} what="State" rows=${tallies(overview.by_state, "?")} total=${overview.devices} show=${(row) => html`<${Chip} name=${row.name} />`} to=${(row) => ({ view: "devices", state: row.raw })} /><//>
      <${Card} title="Health" id="by-health"><${Tally} what="Health" rows=${tallies(overview.by_health, "unknown")} total=${overview.devices} show=${(row) => html`<${Chip} name=${row.name} />`} to=${(row) => ({ view: "devices", health: row.name })} /><//>
    </div>
    <${Card} title="What devices run" id="by-artifact"><${Tally} what="Artifact" rows=${tallies(overview.by_artifact, "none")} total=${overview.devices} show=${(row) => html`<${ArtifactName} digest=${row.raw || null} names=${names} />`} to=${(row) => (row.raw ? { view: "devices", artifact: row.raw } : null)} /><//>`;
}

function Tally({ what, rows, total, show, to }) {
  return html`<${Table} caption="Devices by ${what.toLowerCase()}" isSaidAbove keyOf=${(row) => row.name} rows=${rows} columns=${[
    { title: what, show },
    { title: "Devices", number: true, show: (row) => { const where = to(row); return where ? html`<${Link} to=${where} aria-label="${devices(row.count)}: ${row.name}">${whole(row.count)}<//>` : whole(row.count); } },
    { title: "Share", show: (row) => html`<${Bar} parts=${[{ name: row.name, count: row.count, kind: "busy" }]} total=${total} className="thin" />` },
  ]} />`;
}

export function ArtifactName({ digest, names }) {
  if (!digest) return html`<span class="soft">none, or not heard</span>`;
  const named = names.get(digest);
  return named ? html`<span class="nowrap"><${Link} to=${{ view: "release", id: named.release }}>${named.release}<//> <span class="soft">for ${named.profile}</span></span>` : html`<span><${Digest} digest=${digest} /> <span class="soft">of no release</span></span>`;
}

function Groups({ groups, drift, names, byGroup }) {
  const drifts = new Map(drift.map((one) => [one.group, one]));
  return html`<${Table} caption="Groups, and whether their enrolled devices run what they shall" rows=${groups} keyOf=${(one) => one.name} empty="No group yet." columns=${[
    { title: "Group", show: (one) => html`<${Link} to=${{ view: "group", id: one.name }}>${one.name}<//>` },
    { title: "Devices", number: true, show: (one) => whole(byGroup[one.name] ?? 0) },
    { title: "Runs", show: (one) => html`<${Runs} artifacts=${one.artifacts} names=${names} />` },
    { title: "As desired", show: (one) => { const found = drifts.get(one.name); return found ? html`<div class="drift"><${Bar} parts=${driftParts(found)} className="thin" /><span>${driftWords(found)}</span></div>` : "–"; } },
    { title: "Takes", show: (one) => (one.selector ? html`<${Said} text=${takes(one.selector)} />` : html`<span class="soft nowrap">what people put into it</span>`) },
    { title: "Note", show: (one) => html`<${Said} text=${one.note} />` },
  ]} />`;
}

const driftWords = (found) => driftParts(found).filter((part) => part.count).map((part) => `${whole(part.count)} ${part.name}`).join(", ");

function Runs({ artifacts, names }) {
  const releases = [...new Set(Object.values(artifacts).map((one) => names.get(one.digest)?.release ?? "an artifact of no release"))];
  return releases.length ? releases.map((id, place) => html`${place > 0 && ", "}<${Link} to=${{ view: "release", id }}>${id}<//>`) : html`<span class="soft nowrap">nothing yet</span>`;
}

export function GroupView() {
  const { shown } = useContext(Address);
  const id = encodeURIComponent(shown.id);
  const asked = useAnswers([`/groups/${id}`, "/drift", `/groups/${id}/drift?limit=50${shown.after ? `&after=${encodeURIComponent(shown.after)}` : ""}`, "/releases?limit=1000", `/rollouts?group=${id}&limit=100`], concerns);
  return html`<${Title} text=${shown.id} above=${html`<${Link} to=${{ view: "fleet" }}>Groups<//>`} />
    <${Answered} asked=${asked}>${([group, drift, differing, releases, rollouts]) => {
      const names = artifactNames(releases.items);
      const found = drift.find((one) => one.group === group.name) ?? { as_desired: 0, underway: 0, differing: 0, silent: 0, free: 0 };
      return html`
        ${group.note && html`<p class="lead"><${Said} text=${group.note} /></p>`}
        ${group.selector && html`<p class="lead">It takes devices by itself: <${Said} text=${takes(group.selector)} />.</p>`}
        <section class="card" aria-label="Drift"><${Bar} parts=${driftParts(found)} className="tall" /><${Legend} parts=${driftParts(found)} /><p><${Link} to=${{ view: "devices", group: group.name }}>All devices of the group<//></p>${!group.selector && html`<${Make} action=${claimFor(group.name)} />`}</section>
        <${Card} title="What it shall run" id="desired"><${Table} caption="Artifacts of the whole group, outside of a rollout" rows=${Object.entries(group.artifacts)} keyOf=${([profile]) => profile} empty="Nothing was rolled out to it yet." columns=${[
          { title: "Target", show: ([profile]) => visible(profile) },
          { title: "Release", show: ([, one]) => html`<${ArtifactName} digest=${one.digest} names=${names} />` },
          { title: "Digest", show: ([, one]) => html`<${Digest} digest=${one.digest} />` },
        ]} /><//>
        <${Card} title="Devices that run something else" id="differing"><${Table} caption="Enrolled devices that run something else than they shall" rows=${differing.items} keyOf=${(one) => one.device} empty="None." columns=${[
          { title: "Device", show: (one) => html`<${Link} to=${{ view: "device", id: one.device }}>${one.device}<//>` },
          { title: "Shall run", show: (one) => html`<${ArtifactName} digest=${one.desired} names=${names} />` },
          { title: "Runs", show: (one) => html`<${ArtifactName} digest=${one.reported} names=${names} />` },
          { title: "Wanted by", show: (one) => (one.rollout ? html`<${Link} to=${{ view: "rollout", id: one.rollout }}>${one.rollout}<//>` : one.own_serial === null ? "the group" : "a desired state of its own") },
        ]} /><${Pages} next=${differing.next} what="devices" /><//>
        ${!group.selector && html`<${Claims} group=${group.name} />`}
        <${Card} title="Rollouts" id="rollouts"><${Table} caption="Rollouts to this group" isSaidAbove columns=${ROLLOUT_COLUMNS.filter((one) => one.title !== "Group")} rows=${rollouts.items} keyOf=${(one) => one.id} /><//>`;
    }}<//>`;
}
