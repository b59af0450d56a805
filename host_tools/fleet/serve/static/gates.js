// Gates as small pictures: zero and what is allowed stand at the same place in each, so that they can be read down the column.
import { html } from "./preact-htm.js";
import { Chip, Said, Table } from "./parts.js";
import { limit, MEASURES, percent, worsening } from "./words.js";

const WIDTH = 260, HEIGHT = 34, MIDDLE = 17, EDGE = 10;
const FROM = -1.5, TO = 2.5; // in units of what is allowed

const at = (value, worst) => EDGE + ((Math.min(Math.max(value / worst, FROM), TO) - FROM) / (TO - FROM)) * (WIDTH - 2 * EDGE);
const isBeyond = (value, worst) => value === null || value / worst > TO || value / worst < FROM;
const arrow = (x, side) => `M${x} ${MIDDLE - 5}L${x + 7 * side} ${MIDDLE}L${x} ${MIDDLE + 5}Z`;

function Picture({ finding }) {
  const { gate, estimate, outcome } = finding;
  const { worst } = gate;
  const allowed = at(worst, worst), zero = at(0, worst);
  const low = finding.low ?? -Infinity, high = finding.high ?? Infinity;
  const is = estimate !== null && outcome !== "not_measured";
  const [left, right] = [at(low, worst), at(high, worst)];
  const said = is ? `estimate ${worsening(gate.measure, estimate)}, interval ${worsening(gate.measure, finding.low)} to ${worsening(gate.measure, finding.high)}, allowed ${limit(gate.measure, worst)}` : "no figures yet";
  return html`<svg class="gate ${outcome}" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label=${said}>
    <rect class="forbidden" x=${allowed} y="2" width=${WIDTH - allowed} height=${HEIGHT - 4} />
    <line class="zero" x1=${zero} x2=${zero} y1="2" y2=${HEIGHT - 2} />
    <line class="allowed" x1=${allowed} x2=${allowed} y1="2" y2=${HEIGHT - 2} />
    ${is && html`
      <line class="interval" x1=${left} x2=${right} y1=${MIDDLE} y2=${MIDDLE} />
      ${isBeyond(low, worst) ? html`<path class="end" d=${arrow(left, -1)} />` : html`<line class="interval" x1=${left} x2=${left} y1=${MIDDLE - 5} y2=${MIDDLE + 5} />`}
      ${isBeyond(high, worst) ? html`<path class="end" d=${arrow(right, 1)} />` : html`<line class="interval" x1=${right} x2=${right} y1=${MIDDLE - 5} y2=${MIDDLE + 5} />`}
      <circle class="estimate" cx=${at(estimate, worst)} cy=${MIDDLE} r="5" />`}
  </svg>`;
}

const COLUMNS = [
  { title: "Gate", show: ({ gate }) => html`${MEASURES[gate.measure]}${gate.required && html`<br /><small class="soft">required</small>`}` },
  { title: "Outcome", show: ({ outcome }) => html`<${Chip} name=${outcome} />` },
  { title: "Against the previous artifact", show: (finding) => html`<${Picture} finding=${finding} />` },
  { title: "Estimate", number: true, show: ({ gate, estimate }) => worsening(gate.measure, estimate) },
  { title: "Allowed", number: true, show: ({ gate }) => limit(gate.measure, gate.worst) },
  { title: "Devices", number: true, show: ({ devices, gate }) => `${devices} (of at least ${gate.least_devices})` },
  { title: "In words", show: ({ text, gate }) => html`<span class="in-words"><${Said} text=${text} />${" "}<small class="soft">(decides at ${percent(gate.confidence)})</small></span>` },
];

export function Gates({ findings, hasEnded }) {
  const old = hasEnded && findings.length > 0 && findings.every((one) => one.outcome === "not_measured");
  return html`
    <p class="soft">Each gate compares the release with what the same devices ran before. The dot is the estimate, the line its confidence interval; to the right of the dashed line it is worse than is allowed.</p>
    ${old && html`<p>The rollout is over and no device runs the release any more; what the gates found is told with the stages above.</p>`}
    <${Table} caption="Gates, over every device that has the release" columns=${COLUMNS} rows=${findings} keyOf=${({ gate }) => gate.measure} empty="This rollout has no gates." />`;
}
