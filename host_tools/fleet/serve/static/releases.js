// Releases: which artifact each target gets, and where it runs.
import { html, useContext } from "./preact-htm.js";
import { Address, Link } from "./address.js";
import { query } from "./ask.js";
import { Make, releaseFrom } from "./making.js";
import { Answered, Bar, Card, Digest, Filters, Moment, Pages, Said, Table, Title } from "./parts.js";
import { ROLLOUT_COLUMNS } from "./rollouts.js";
import { useAnswers } from "./session.js";
import { bytes, devices, whole } from "./words.js";

// Digest to the release and the profile that have it.
export const artifactNames = (releases) => new Map(releases.flatMap((release) => Object.entries(release.artifacts).map(([profile, { digest }]) => [digest, { release: release.id, profile }])));

const concerns = (event) => event.kind === "devices" || (event.kind === "audit" && event.subject.startsWith("release/")) || event.kind === "rollout";
const running = (release, byArtifact) => [...new Set(Object.values(release.artifacts).map((one) => one.digest))].reduce((sum, digest) => sum + (byArtifact[digest] ?? 0), 0);

export function ReleasesView() {
  const { shown } = useContext(Address);
  const asked = useAnswers([`/releases${query({ model: shown.model, after: shown.after })}`, "/overview"], concerns);
  return html`<${Title} text="Releases" />
    <${Make} action=${releaseFrom(asked.load)} />
    <${Filters} choices=${[{ name: "model", title: "Model" }]} />
    <section class="card"><${Answered} asked=${asked}>${([page, overview]) => html`<${Table} caption="Releases, by name" rows=${page.items} keyOf=${(one) => one.id} empty=${shown.model ? "No release is like that." : "No release yet."} columns=${[
      { title: "Release", show: (one) => html`<${Link} to=${{ view: "release", id: one.id }}>${one.id}<//>` },
      { title: "Model", show: (one) => html`<${Said} text=${one.model} />` },
      { title: "Version", show: (one) => html`<${Said} text=${one.version} />` },
      { title: "Counter", number: true, show: (one) => one.counter },
      { title: "Targets", number: true, show: (one) => Object.keys(one.artifacts).length },
      { title: "Runs on", number: true, show: (one) => devices(running(one, overview.by_artifact)) },
      { title: "Made", show: (one) => html`<${Moment} seconds=${one.created_seconds} />` },
    ]} /><${Pages} next=${page.next} what="releases" />`}<//></section>`;
}

export function ReleaseView() {
  const { shown } = useContext(Address);
  const asked = useAnswers([`/releases/${encodeURIComponent(shown.id)}`, "/overview", "/rollouts?limit=1000"], concerns);
  return html`<${Title} text=${shown.id} above=${html`<${Link} to=${{ view: "releases" }}>Releases<//>`} />
    <${Answered} asked=${asked}>${([release, overview, rollouts]) => html`
      <p class="lead">Version <${Said} text=${release.version} /> of model <${Said} text=${release.model} />, number ${release.counter} in its order. Made by <${Said} text=${release.created_by} />, <${Moment} seconds=${release.created_seconds} />.</p>
      <${Card} title="Artifacts" id="artifacts"><${Table} caption="One artifact for each target; it runs on ${devices(running(release, overview.by_artifact))} of ${whole(overview.devices)}" rows=${Object.entries(release.artifacts)} keyOf=${([profile]) => profile} columns=${[
        { title: "Target", show: ([profile]) => html`<${Said} text=${profile} />` },
        { title: "Runs on", number: true, show: ([, one]) => html`<${Link} to=${{ view: "devices", artifact: one.digest }}>${devices(overview.by_artifact[one.digest] ?? 0)}<//>` },
        { title: "Of the fleet", show: ([, one]) => html`<${Bar} parts=${[{ name: "runs it", count: overview.by_artifact[one.digest] ?? 0, kind: "busy" }]} total=${overview.devices} className="thin" />` },
        { title: "Size", number: true, show: ([, one]) => bytes(one.size_bytes) },
        { title: "Digest", show: ([, one]) => html`<${Digest} digest=${one.digest} />` },
        { title: "Signed as", show: ([, one]) => html`<code class="in-words"><${Said} text=${one.path} /></code>` },
      ]} /><//>
      <${Card} title="Rollouts" id="rollouts"><${Table} caption="Rollouts that bring it" isSaidAbove columns=${ROLLOUT_COLUMNS.filter((one) => one.title !== "Release")} rows=${rollouts.items.filter((one) => one.plan.release === release.id)} keyOf=${(one) => one.id} empty="None yet." /><//>`}<//>`;
}
