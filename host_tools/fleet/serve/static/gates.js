// Gates as small pictures: zero and what is allowed stand at the same place in each, so that they can be compared at a glance.
import { html } from "./preact-htm.js";
import { Chip, Said } from "./parts.js";
import { devices, limit, MEASURES, percent, worsening } from "./words.js";

const WIDTH = 300, HEIGHT = 50, BAND = 34, MIDDLE = 17, EDGE = 10;
const FROM = -1.5, TO = 4.5; // in units of what is allowed

const at = (value, worst) => EDGE + ((Math.min(Math.max(value / worst, FROM), TO) - FROM) / (TO - FROM)) * (WIDTH - 2 * EDGE);
const beyond = (value, worst) => (value / worst > TO ? 1 : value / worst < FROM ? -1 : 0);
const arrow = (x, side) => `M${x} ${MIDDLE - 5}L${x + 7 * side} ${MIDDLE}L${x} ${MIDDLE + 5}Z`;

// An end of the interval: a bar, or an arrow where it lies outside of the picture.
function End({ value, worst }) {
  const x = at(value, worst), side = beyond(value, worst);
  return side ? html`<path class="end" d=${arrow(x, side)} />` : html`<line class="interval" x1=${x} x2=${x} y1=${MIDDLE - 5} y2=${MIDDLE + 5} />`;
}

function Picture({ finding }) {
  const { gate, estimate, outcome } = finding;
  const { worst } = gate;
  const allowed = at(worst, worst), zero = at(0, worst);
  const low = finding.low ?? -Infinity, high = finding.high ?? Infinity;
  const is = estimate !== null;
  const [left, right] = [at(low, worst), at(high, worst)];
  const said = is ? `estimate ${worsening(gate.measure, estimate)}, interval ${worsening(gate.measure, finding.low)} to ${worsening(gate.measure, finding.high)}, allowed ${limit(gate.measure, worst)}` : "no figures yet";
  return html`<svg class="gate ${outcome}" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label=${said}>
    <rect class="forbidden" x=${allowed} y="2" width=${WIDTH - allowed} height=${BAND - 4} />
    <line class="zero" x1=${zero} x2=${zero} y1="2" y2=${BAND - 2} />
    <line class="allowed" x1=${allowed} x2=${allowed} y1="2" y2=${BAND - 2} />
    <text class="before" x=${zero + 3} y=${HEIGHT - 4}>as before</text>
    <text class="limit" x=${allowed - 3} y=${HEIGHT - 4}>+${limit(gate.measure, worst).replace("per device-hour", "/ h")}</text>
    ${is && html`
      <line class="interval" x1=${left} x2=${right} y1=${MIDDLE} y2=${MIDDLE} />
      <${End} value=${low} worst=${worst} /><${End} value=${high} worst=${worst} />
      <circle class="estimate" cx=${at(estimate, worst)} cy=${MIDDLE} r="5" />`}
  </svg>`;
}

function Gate({ finding }) {
  const { gate, outcome, text } = finding;
  return html`<li class="stage gate-of ${outcome}">
    <div class="row"><h3>${MEASURES[gate.measure]}</h3><${Chip} name=${outcome} /></div>
    <${Picture} finding=${finding} />
    <p><${Said} text=${text} /></p>
    <p class="soft">Decides at ${percent(gate.confidence)}, with at least ${devices(gate.least_devices)}.${gate.required && " The stage waits for it."}</p>
  </li>`;
}

export function Gates({ findings, hasEnded }) {
  if (!findings.length) return html`<p class="soft">This rollout has no gates.</p>`;
  const isOver = hasEnded && findings.every((one) => one.outcome === "not_measured");
  return html`
    <p class="soft">Each gate compares the release with what the same devices ran before. The dot is the estimate, the line its confidence interval; to the right of the dashed line it is worse than is allowed.</p>
    ${isOver && html`<p>It is over, and nothing is measured any more; what the gates found is told with the stages above.</p>`}
    <ul class="stages gates">${findings.map((finding) => html`<${Gate} key=${finding.gate.measure} finding=${finding} />`)}</ul>`;
}
