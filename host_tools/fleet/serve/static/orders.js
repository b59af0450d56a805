// What may be done with a rollout in the state that it is in, by whom, and what will follow: the same table as `rollout/orders.py`.
import { ask } from "./ask.js";
import { devices, plural, share } from "./words.js";

const sum = (stages, name) => stages.reduce((total, stage) => total + stage.jobs[name], 0);
const joined = (parts) => (parts.length > 1 ? `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}` : parts[0]);

// The orders, the one that the rollout waits for first. `size`: enrolled devices of its group.
export function orders(rollout, explained, size) {
  const { id, plan, state, revision } = rollout;
  const stages = explained.stages;
  const asks = rollout.stages.findIndex((one) => one.state === "awaiting_approval");
  const begun = rollout.stages.filter((one) => one.began_seconds !== null).length;
  const figures = {
    holding: sum(stages, "holding"),
    open: sum(stages, "open"),
    again: sum(stages, "failed") + sum(stages, "canceled"),
    total: sum(stages, "total"),
    size,
  };
  const going = state === "running" || state === "paused";
  const give = (order, { path = order, looked = true } = {}) => () => ask(`/rollouts/${id}/${path}`, { method: "POST", body: looked ? { revision } : {} });
  const offered = [
    state === "draft" && { name: "submit", verb: "Submit", needs: "operator", isMain: true, act: give("submit"), asked: () => ({ title: `Submit ${id}?`, consequences: plan.needs_approval ? ["It goes to an approver. No device changes before that."] : begins(plan, 0, figures) }) },
    state === "awaiting_approval" && { name: "approve", verb: "Approve", needs: "approver", isMain: true, act: give("approve"), asked: () => ({ title: `Approve ${id}?`, consequences: begins(plan, 0, figures) }) },
    going && asks >= 0 && { name: "approve-stage", verb: `Approve stage ${plan.stages[asks].name}`, needs: "approver", isMain: true, act: give("approve_stage", { path: `stages/${asks}/approve` }), asked: () => ({ title: `Approve stage ${plan.stages[asks].name} of ${id}?`, consequences: approves(rollout, asks, figures) }) },
    state === "paused" && { name: "resume", verb: "Resume", needs: "operator", isMain: asks < 0, act: give("resume"), asked: () => ({ title: `Resume ${id}?`, consequences: ["Stages begin and pass again; the next one may begin at once.", `${devices(figures.open)} of the stages so far ${figures.open === 1 ? "goes" : "go"} on as before.`] }) },
    state === "running" && { name: "pause", verb: "Pause", needs: "operator", act: give("pause", { looked: false }), asked: () => ({ title: `Pause ${id}?`, consequences: ["No further stage begins or passes until it is resumed.", `${devices(figures.open)} of the stages so far ${figures.open === 1 ? "goes" : "go"} on. A failed gate still stops it.`] }) },
    going && begun > 0 && figures.again > 0 && { name: "retry", verb: "Retry failed", needs: "operator", act: give("retry"), asked: () => ({ title: `Retry in ${id}?`, consequences: [`${plural(figures.again, "job that failed or was canceled is", "jobs that failed or were canceled are")} begun anew.`] }) },
    going && { name: "rollback", verb: "Roll back", needs: "operator", isGrave: true, act: give("rollback", { looked: false }), asked: () => ({ title: `Roll ${id} back?`, consequences: rollsBack(plan, figures) }) },
    (going || state === "draft" || state === "awaiting_approval") && { name: "abort", verb: "Abort", needs: "operator", isGrave: true, act: give("abort", { looked: false }), asked: () => ({ title: `Abort ${id}?`, consequences: aborts(plan, figures) }) },
  ];
  return offered.filter(Boolean);
}

function begins(plan, stage, { size }) {
  const { name, share_ppm, devices: named } = plan.stages[stage];
  const about = Math.round((size * share_ppm) / 1e6);
  const who = [share_ppm && `about ${devices(about)} (${share(share_ppm)} of ${size} in group ${plan.group})`, named.length && `${plural(named.length, "device", "devices")} by name`].filter(Boolean);
  const when = plan.windows.length ? "as soon as a schedule window is open" : "at once";
  return [`Stage ${name} begins ${when}: ${joined(who.length ? who : ["no device"])} get ${plan.release}.`, plan.rolls_back ? "If a gate fails or too many devices do, it stops by itself and the release is taken back." : "If a gate fails or too many devices do, it stops by itself; devices keep what they have."];
}

function approves(rollout, stage, figures) {
  const { plan, stages } = rollout;
  if (stages[stage].began_seconds === null) {
    const before = stage ? plan.stages[stage - 1].share_ppm : 0;
    const more = Math.round((figures.size * (plan.stages[stage].share_ppm - before)) / 1e6);
    return [`About ${devices(more)} more get ${plan.release}: from ${share(before)} to ${share(plan.stages[stage].share_ppm)} of ${figures.size} in group ${plan.group}.`];
  }
  const passes = `Stage ${plan.stages[stage].name} passes, although: ${stages[stage].reason}`;
  return stage === plan.stages.length - 1 ? [passes, `The rollout is finished: ${plan.release} becomes what group ${plan.group} runs.`] : [passes, ...begins(plan, stage + 1, figures)];
}

function rollsBack(plan, { holding, open }) {
  return [`${devices(holding)} that ${holding === 1 ? "runs" : "run"} ${plan.release} ${holding === 1 ? "goes" : "go"} back to what ran before.`, `${plural(open, "open job ends", "open jobs end")} without a result. It cannot be resumed.`];
}

// Who is in the share stays in it (docs/adr/0021): a device that has not taken the release yet may still do so.
function aborts(plan, { holding, open, total, size }) {
  if (!total) return ["It ends for good. No device has changed."];
  const rest = Math.max(size - total, 0), others = Math.max(total - holding, 0);
  return [
    `It ends for good: no further stage begins. ${devices(rest)} of group ${plan.group}, in no stage so far, ${rest === 1 ? "keeps" : "keep"} what ran before.`,
    `${devices(holding)} that ${holding === 1 ? "runs" : "run"} ${plan.release} ${holding === 1 ? "keeps" : "keep"} it, and ${others} more of its stages may still take it. Roll back instead to take it from all of them.`,
    `${plural(open, "open job ends", "open jobs end")} without a result.`,
  ];
}
