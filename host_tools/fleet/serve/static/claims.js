// Claim tokens of a group: which there are, and the end of those that no device has used.
import { html, useContext } from "./preact-htm.js";
import { ask } from "./ask.js";
import { Make } from "./making.js";
import { Answered, Card, Chip, Moment, Said, Table } from "./parts.js";
import { may, Session, useAnswers } from "./session.js";
import { Link } from "./address.js";

const MOST = 1_000;
const ORDER = ["good", "waiting"];  // first those about which there may be something to do

const usableFirst = (claims) => [...claims].sort((a, b) => ORDER.indexOf(b.state) - ORDER.indexOf(a.state) || b.expires_seconds - a.expires_seconds);

export function Claims({ group }) {
  const { me } = useContext(Session);
  return html`<${Card} title="Claim tokens" id="claims">${may(me.role, "operator") ? html`<${Listed} group=${group} />` : html`<p class="soft">Claim tokens are shown to the role operator; yours is ${me.role}.</p>`}<//>`;
}

function Listed({ group }) {
  const asked = useAnswers([`/claims?group=${encodeURIComponent(group)}&limit=${MOST}`], (event) => event.kind === "devices" || (event.kind === "audit" && event.subject === `group/${group}`));
  return html`<${Answered} asked=${asked}>${([page]) => html`<${Table} caption="Tokens with which devices enrol into this group; no secret is kept${page.next ? `, the first ${MOST} of them` : ""}" rows=${usableFirst(page.items)} keyOf=${(one) => one.id} empty="None." columns=${[
    { title: "Token", show: (one) => html`<code>${one.id}</code>` },
    { title: "State", show: (one) => html`<${Chip} name=${one.state} />` },
    { title: "For", show: (one) => (one.device ? html`<${Said} text=${one.device} />` : "any device") },
    { title: "Approval", show: (one) => (one.needs_approval ? "needed" : "not needed") },
    { title: "Expires", show: (one) => html`<${Moment} seconds=${one.expires_seconds} />` },
    { title: "Used by", show: (one) => (one.used_by ? html`<${Link} to=${{ view: "device", id: one.used_by }}>${one.used_by}<//>` : "–") },
    { title: "What can be done", show: (one) => (one.state === "good" ? html`<${Make} action=${revoked(one, asked.load)} />` : "–") },
  ]} />`}<//>`;
}

const revoked = ({ id, group, device }, reload) => ({
  name: `revoke-claim-${id}`,
  verb: `Revoke ${id}`,
  needs: "operator",
  isGrave: true,
  asked: () => ({
    title: `Revoke claim token ${id}?`,
    consequences: [`${device ? `Device ${device}` : "No device"} can${device ? "not" : ""} enrol into group ${group} with it from then on.`, "Devices that have a certificate keep it. A new token can be made at any time."],
  }),
  act: async () => {
    await ask(`/claims/${id}`, { method: "DELETE" });
    await reload();
  },
});
