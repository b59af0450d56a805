// Stages of a rollout: one bar over the whole group, and each stage with its counts and why it advanced, waits or stopped.
import { html } from "./preact-htm.js";
import { Bar, Chip, Legend, Lines, Moment, Said } from "./parts.js";
import { devices, length, percent, share, whole } from "./words.js";

export function jobParts(jobs) {
  return [
    { name: "succeeded", count: jobs.succeeded, kind: "good" },
    { name: "at it", count: jobs.open - jobs.absent, kind: "busy" },
    { name: "absent", count: jobs.absent, kind: "care" },
    { name: "failed", count: jobs.failed, kind: "bad" },
    { name: "canceled", count: jobs.canceled, kind: "gone" },
  ];
}

export function total(stages) {
  const sums = {};
  for (const { jobs } of stages) for (const [name, count] of Object.entries(jobs)) sums[name] = (sums[name] ?? 0) + count;
  return sums;
}

export function progress(explained) {
  const now = [...explained.stages].reverse().find((one) => one.began_seconds !== null);
  if (!now) return `${explained.rollout}: no stage has begun.`;
  return `${explained.rollout}: stage ${now.name}: ${now.jobs.succeeded} of ${devices(now.jobs.total)} succeeded, ${now.jobs.failed} failed, ${now.jobs.absent} absent.`;
}

// The whole group from left to right: what has the release, what is at it, and what its stages still leave alone.
export function Overall({ explained, size }) {
  const sums = total(explained.stages);
  const rest = Math.max(size - sums.total, 0);
  const parts = [...jobParts(sums), { name: "not in a stage yet", count: rest, kind: "rest" }];
  const marks = explained.stages.slice(0, -1).map((one) => one.share_ppm).filter((ppm) => ppm > 0 && ppm < 1e6);
  return html`<div class="overall">
    <div class="overall-bar"><${Bar} parts=${parts} total=${Math.max(size, sums.total)} className="tall" />${marks.map((ppm) => html`<i key=${ppm} aria-hidden="true" style=${{ left: `${ppm / 1e4}%` }}></i>`)}</div>
    <${Legend} parts=${parts} />
    <p class="soft">${whole(sums.holding)} of ${devices(size)} in group ${explained.group} ${sums.holding === 1 ? "says" : "say"} that ${sums.holding === 1 ? "it runs" : "they run"} ${explained.release}.</p>
  </div>`;
}

const members = (ppm, named) => [(ppm > 0 || !named) && share(ppm), named > 0 && `${devices(named)} by name`].filter(Boolean).join(" and ");

export function Stages({ explained, plan }) {
  return html`<ol class="stages">${explained.stages.map((one, place) => {
    const planned = plan.stages[place];
    const parts = jobParts(one.jobs);
    return html`<li key=${place} class="stage ${one.state}">
      <div class="row"><h3>${place + 1}. <${Said} text=${one.name} /> <small>${members(one.share_ppm, planned.devices.length)}</small></h3><${Chip} name=${one.state} /></div>
      ${one.began_seconds !== null && html`
        <${Bar} parts=${parts} total=${one.jobs.total} />
        <${Legend} parts=${parts} />
        <p class="soft">Began <${Moment} seconds=${one.began_seconds} />${one.ended_seconds !== null && html`, ended <${Moment} seconds=${one.ended_seconds} />`}.</p>`}
      ${one.reason && html`<div class="why"><${Lines} text=${one.reason} more="What its gates found" /></div>`}
      <p class="soft">Passes when ${percent(planned.success_ratio)} succeeded and ${length(planned.soak_seconds)} have passed; stops when ${percent(planned.error_ratio)} failed.${planned.needs_approval && " An approver must let it begin."}</p>
    </li>`;
  })}</ol>`;
}
