// What is made from the page: claim tokens, releases that the repository has signed, plans of rollouts. The server checks all of it.
import { html, useContext } from "./preact-htm.js";
import { Address } from "./address.js";
import { ask, Problem } from "./ask.js";
import { Actions } from "./dialog.js";
import { may, Session } from "./session.js";

const RELEASE_KEYS = ["model", "version", "counter", "artifacts"];

// Names of releases to choose from: what was made last stands first.
export const choosable = (releases) => [...releases].reverse().sort((a, b) => b.created_seconds - a.created_seconds).map((one) => one.id);

// One button that makes something, and what its dialog asks for.
export function Make({ action }) {
  const { me } = useContext(Session);
  return html`<${Actions} actions=${[action]} may=${(needed) => may(me.role, needed)} role=${me.role} />`;
}

export const claimFor = (group) => ({
  name: "claim",
  verb: "Make a claim token",
  needs: "operator",
  asked: () => ({
    title: `A claim token for group ${group}`,
    consequences: [`One device comes into group ${group} with it, once, until it expires.`, "Its secret is shown once and kept nowhere."],
    fields: [
      { name: "device", title: "Only this device (empty: any)", longest: 64 },
      { name: "hours", title: "Hours for which it is good", kind: "number", value: "24", least: 1, most: 8_784 },
      { name: "needs_approval", title: "The device waits until somebody approves it", kind: "check" },
    ],
  }),
  act: async ({ device, hours, needs_approval }) => {
    const made = await ask("/claims", { method: "POST", body: { group, device, lifetime_seconds: 3_600 * Number(hours), needs_approval } });
    return { title: `Claim token ${made.id}`, secret: made.claim, note: "Give it to the device: edgewright-agent enrol. It is not shown again." };
  },
});

export const releaseFrom = (reload) => ({
  name: "add-release",
  verb: "Add a release",
  needs: "operator",
  asked: () => ({
    title: "Add a release",
    consequences: ["Rollouts may bring it from then on; no device changes.", "The server takes it when the repository has signed every artifact as the file says."],
    fields: [{ name: "file", title: "The file that edgewright release create wrote", kind: "file", accept: ".json,application/json", note: "releases/NAME-VERSION.json of the repository" }],
  }),
  act: async ({ file }) => {
    await ask("/releases", { method: "POST", body: await releaseOf(file) });
    await reload();
  },
});

async function releaseOf(file) {
  if (!file) throw new Problem(422, { detail: "No file was chosen." });
  let told;
  try {
    told = JSON.parse(await file.text());
  } catch {
    throw new Problem(422, { detail: `${file.name}: expected JSON, got something else.`, hint: "It is releases/NAME-VERSION.json of the repository." });
  }
  const missing = RELEASE_KEYS.filter((key) => told?.[key] === undefined);
  if (missing.length) throw new Problem(422, { detail: `${file.name}: expected a release, ${missing.join(", ")} ${missing.length === 1 ? "is" : "are"} missing.`, hint: "It is releases/NAME-VERSION.json of the repository." });
  return Object.fromEntries(RELEASE_KEYS.map((key) => [key, told[key]]));
}

export function usePlanning(releases, groups) {
  const { go } = useContext(Address);
  return {
    name: "plan",
    verb: "Plan a rollout",
    needs: "operator",
    asked: () => ({
      title: "Plan a rollout",
      consequences: ["It becomes a draft: no device changes before it is submitted.", "It has the usual stages (3 %, 5 %, 25 %, all of the group) and a gate on every measure. Others come from a plan file: edgewright fleet rollouts create."],
      fields: [
        { name: "id", title: "Name", longest: 64, note: "letters, digits, _ and -; it also decides who the canaries are" },
        { name: "release", title: "Release", kind: "choice", options: choosable(releases) },
        { name: "group", title: "Group", kind: "choice", options: groups.map((one) => one.name) },
        { name: "needs_approval", title: "An approver must let it begin", kind: "check" },
        { name: "rolls_back", title: "When it stops by itself, the release is taken back", kind: "check", value: true },
      ],
    }),
    act: async (plan) => {
      await ask("/rollouts", { method: "POST", body: plan });
      go({ view: "rollout", id: plan.id });
    },
  };
}
