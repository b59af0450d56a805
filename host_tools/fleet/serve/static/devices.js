// Devices: a list to search in, and one device.
import { html, useContext, useMemo } from "./preact-htm.js";
import { Address, Link } from "./address.js";
import { ask, query, save } from "./ask.js";
import { History } from "./audit.js";
import { Actions } from "./dialog.js";
import { ArtifactName } from "./fleet.js";
import { choosable } from "./making.js";
import { Answered, Card, Chip, Digest, Facts, Filters, Moment, Pages, Said, Table, Title } from "./parts.js";
import { artifactNames } from "./releases.js";
import { may, Session, useAnswers } from "./session.js";
import { bytes, short } from "./words.js";

const STATES = ["pending", "enrolled", "revoked", "decommissioned"];
const HEALTHS = ["up", "degraded", "draining", "down", "unknown"];

export function DevicesView() {
  const { shown } = useContext(Address);
  const { trouble } = useContext(Session);
  const { group, state, health, artifact, target, tag, search, after } = shown;
  const asked = useAnswers([`/devices${query({ group, state, health, artifact, target, tag, search, after, limit: 100 })}`, "/groups?limit=1000", "/releases?limit=1000"], (event) => event.kind === "devices");
  const csv = html`<button type="button" onClick=${() => save("/devices.csv", "devices.csv").catch(trouble)}>Save all as CSV</button>`;
  return html`<${Title} text="Devices" />
    <${Answered} asked=${asked}>${([page, groups, releases]) => {
      const names = artifactNames(releases.items);
      const artifacts = [...names].map(([digest, { release, profile }]) => ({ value: digest, text: `${release} for ${profile}` }));
      if (artifact && !names.has(artifact)) artifacts.push({ value: artifact, text: short(artifact) });
      return html`
        <${Filters} choices=${[
          { name: "search", title: "Name has" },
          { name: "group", title: "Group", options: groups.items.map((one) => ({ value: one.name, text: one.name })) },
          { name: "state", title: "State", options: STATES },
          { name: "health", title: "Health", options: HEALTHS },
          { name: "artifact", title: "Runs", options: artifacts },
          { name: "target", title: "Target" },
          { name: "tag", title: "Tag" },
        ]} />
        <section class="card"><div class="row head">${csv}</div><${Table} caption="Devices, by name" isSaidAbove rows=${page.items} keyOf=${(one) => one.id} empty=${search || group || state || health || artifact || target || tag ? "No device is like that." : "No device yet: one comes with a claim token of its group, or by a device list."} columns=${[
          { title: "Device", show: (one) => html`<${Link} to=${{ view: "device", id: one.id }}>${one.id}<//>` },
          { title: "Group", show: (one) => html`<${Link} to=${{ view: "group", id: one.group }}>${one.group}<//>` },
          { title: "State", show: (one) => html`<${Chip} name=${one.state} />` },
          { title: "Health", show: (one) => html`<${Chip} name=${one.health || "unknown"} />` },
          { title: "Runs", show: (one) => html`<${ArtifactName} digest=${one.artifact} names=${names} />` },
          { title: "Last heard", show: (one) => html`<${Moment} seconds=${one.last_seen_seconds} relative />` },
          { title: "Tags", show: (one) => html`<${Tags} tags=${one.tags} />` },
        ]} /><${Pages} next=${page.next} what="devices" /></section>`;
    }}<//>`;
}

const Tags = ({ tags }) => (tags.length ? html`<span class="tags">${tags.map((one) => html`<span class="tag" key=${one}><${Said} text=${one} /></span>`)}</span>` : "–");

export function DeviceView() {
  const { shown } = useContext(Address);
  const id = encodeURIComponent(shown.id);
  const asked = useAnswers([`/devices/${id}`, `/devices/${id}/desired`, `/devices/${id}/jobs`, "/releases?limit=1000", "/groups?limit=1000"], (event) => ["devices", "jobs", "rollout"].includes(event.kind));
  return html`<${Title} text=${shown.id} chip=${asked.answers?.[0].state} above=${html`<${Link} to=${{ view: "devices" }}>Devices<//>`} />
    <${Answered} asked=${asked}>${([device, desired, jobs, releases, groups]) => html`<${Device} device=${device} desired=${desired} jobs=${jobs.items} releases=${releases.items} groups=${groups.items} reload=${asked.load} />`}<//>`;
}

function Device({ device, desired, jobs, releases, groups, reload }) {
  const { me } = useContext(Session);
  const { provides } = device;
  const names = artifactNames(releases);
  const pinned = desired.own_serial !== null;
  const actions = useMemo(() => [...deviceActions(device, jobs, groups, reload), ...pinActions(device, pinned, releases, jobs, reload)], [device, pinned, releases, jobs, groups]);
  const differs = desired.desired !== null && desired.reported !== null && desired.desired !== desired.reported;
  return html`
    <section class="card" aria-label="What it is">
      <${Actions} actions=${actions} may=${(needed) => may(me.role, needed)} role=${me.role} />
      <${Facts} facts=${[
        ["Group", html`<${Link} to=${{ view: "group", id: device.group }}>${device.group}<//>`],
        device.home !== device.group && ["People put it into", html`<${Link} to=${{ view: "group", id: device.home }}>${device.home}<//>; a selector has taken it`],
        device.configured !== "" && device.configured !== device.group && ["Its configuration names", html`<${Said} text=${device.configured} />; it is told to follow ${device.group}`],
        ["Health", html`<${Chip} name=${device.health || "unknown"} />`],
        ["Last heard", html`<span><${Moment} seconds=${device.last_seen_seconds} relative /> <span class="soft"><${Moment} seconds=${device.last_seen_seconds} /></span></span>`],
        ["Made known", html`<${Moment} seconds=${device.added_seconds} />`],
        ["Tags", html`<${Tags} tags=${device.tags} />`],
      ].filter(Boolean)} />
    </section>
    <${Card} title="What it runs" id="runs">
      <p class="verdict ${differs ? "bad" : ""}">${verdict(device, desired)}</p>
      ${desired.unsigned && html`<p><${Said} text=${desired.unsigned} /></p>`}
      <${Facts} facts=${[
        ["Shall run", html`<span><${ArtifactName} digest=${desired.desired} names=${names} />${desired.rollout ? html` <span class="soft">by rollout</span> <${Link} to=${{ view: "rollout", id: desired.rollout }}>${desired.rollout}<//>` : ""}${pinned ? html` <span class="soft">by a desired state of its own, serial ${desired.own_serial}</span>` : ""}</span>`],
        ["Says that it runs", html`<${ArtifactName} digest=${desired.reported} names=${names} />`],
        ["Digest", html`<${Digest} digest=${desired.reported} />`],
        ["Follows desired state", device.desired_serial === null ? "not heard" : `serial ${device.desired_serial}`],
      ]} />
    <//>
    <${Card} title="What it can run" id="provides"><${Facts} facts=${[
      ["Targets, best first", provides.targets.length ? provides.targets.map((one) => html`<${Said} text=${one} />${" "}`) : "it has not said"],
      ["Engine", html`<${Said} text=${provides.engine || "it has not said"} />`],
      ["Agent", html`<${Said} text=${provides.agent_version || "it has not said"} />`],
      ["Memory", bytes(provides.memory_bytes)],
    ]} /><//>
    <${Card} title="Jobs" id="jobs"><${Table} caption="What it owed rollouts" isSaidAbove rows=${jobs} keyOf=${(one) => one.rollout} empty="No rollout wanted anything of it." columns=${[
      { title: "Rollout", show: (one) => html`<${Link} to=${{ view: "rollout", id: one.rollout }}>${one.rollout}<//>` },
      { title: "State", show: (one) => html`<${Chip} name=${one.result === "none" ? one.state : one.result} />` },
      { title: "Wanted", show: (one) => html`<${ArtifactName} digest=${one.wanted} names=${names} />` },
      { title: "In its words", show: (one) => html`<span class="in-words"><${Said} text=${one.reason} /></span>` },
      { title: "Attempts", number: true, show: (one) => one.attempts },
      { title: "Changed", show: (one) => html`<${Moment} seconds=${one.changed_seconds} />` },
    ]} /><//>
    <${History} subject="device/${device.id}" />`;
}

function verdict(device, { desired, reported, rollout, own_serial: own }) {
  if (device.state !== "enrolled") return `It is ${device.state} and takes no part.`;
  if (desired === null) return own === null ? "Its group has nothing for what it can run." : "It has a desired state of its own, which has nothing for what it can run: it keeps what it has.";
  if (reported === null) return "It has not said what it runs.";
  if (desired === reported) return own === null ? "It runs what it shall." : "It runs what it alone shall; rollouts to its group leave it out.";
  return rollout ? "It does not run what it shall yet." : "It runs something else than it shall.";
}

// What ends with a device's jobs when it leaves its group's rollouts.
function endings(jobs) {
  const open = jobs.filter((one) => one.result === "none" && one.state !== "canceled").length;
  return open ? [`${open === 1 ? "Its open job ends" : `Its ${open} open jobs end`} without a result.`] : [];
}

const takesPart = ({ state }) => state === "pending" || state === "enrolled";

// A desired state of its own: given where a release has an artifact for it, and taken away.
function pinActions(device, pinned, releases, jobs, reload) {
  const { id, group, provides } = device;
  const fitting = choosable(releases.filter(({ artifacts }) => provides.targets.some((one) => one in artifacts)));
  const order = (method) => async (body) => { await ask(`/devices/${id}/pin`, { method, body }); await reload(); };
  const pin = { name: "pin", verb: pinned ? "Pin to another release" : "Pin to a release", needs: "operator", act: order("POST"), asked: () => ({
    title: `Pin ${id} to a release`,
    consequences: [`1 device runs it, whatever group ${group} runs; rollouts leave it out until it is unpinned.`, ...endings(jobs)],
    fields: [
      { name: "release", title: "Release", kind: "choice", options: fitting },
      { name: "allow_downgrade", title: "It may be older than what the device has kept; else the device refuses it then", kind: "check" },
    ],
  }) };
  const unpin = { name: "unpin", verb: "Unpin", needs: "operator", act: () => order("DELETE")(), asked: () => ({ title: `Unpin ${id}?`, consequences: [`1 device follows group ${group} again and runs what that runs, with the rollouts that are going on.`] }) };
  return takesPart(device) ? [fitting.length > 0 && pin, pinned && unpin].filter(Boolean) : [];
}

function deviceActions(device, jobs, groups, reload) {
  const { id } = device;
  const post = (path, body) => async () => { await ask(`/devices/${id}/${path}`, { method: "POST", body }); await reload(); };
  const change = async (body) => { await ask(`/devices/${id}`, { method: "PATCH", body }); await reload(); };
  const ends = endings(jobs);
  const reason = { title: "Why (kept in the audit)" };
  const out = (path) => async (text) => { await post(path, { reason: text })(); };
  return [
    device.state === "pending" && { name: "approve", verb: "Approve", needs: "operator", isMain: true, act: post("approve"), asked: () => ({ title: `Let ${id} in?`, consequences: [`1 device gets its certificate and takes part in group ${device.group}.`, "It gets what the group runs, and rollouts that are going on."] }) },
    takesPart(device) && { name: "tags", verb: "Change tags", needs: "operator", act: (text) => change({ tags: [...new Set(text.split(/\s+/).filter(Boolean))] }), asked: () => ({ title: `Tags of ${id}`, consequences: ["1 device has these tags from now on. Where a group takes devices by them, it comes into that group or leaves it, and runs what its group runs."], field: { title: "Tags, with spaces between", value: device.tags.join(" "), longest: 2_000, note: "letters, digits and _ . : = / -" } }) },
    takesPart(device) && { name: "move", verb: "Move to a group", needs: "operator", act: (text) => change({ group: text }), asked: () => ({ title: `Move ${id} to another group`, consequences: ["1 device gets what the other group runs.", ...ends], field: { title: "Group", value: device.home, longest: 64, note: `there are ${groups.filter((one) => !one.selector).slice(0, 12).map((one) => one.name).join(", ")}${groups.length > 12 ? ", …" : ""}` } }) },
    takesPart(device) && { name: "revoke", verb: "Revoke", needs: "operator", isGrave: true, act: out("revoke"), asked: () => ({ title: `Revoke ${id}?`, consequences: ["1 device loses its certificates and cannot connect any more. It may enrol again.", ...ends], field: reason }) },
    device.state !== "decommissioned" && { name: "decommission", verb: "Decommission", needs: "operator", isGrave: true, act: out("decommission"), asked: () => ({ title: `Decommission ${id}?`, consequences: ["1 device is gone for good: it loses its certificates and can never enrol again.", ...ends], field: reason }) },
  ].filter(Boolean);
}
