// What is chosen, and what follows from it.
const targets = JSON.parse(document.getElementById("dx-data").textContent);
const at = (id) => document.getElementById(id);
const chosen = { target: 0, layer: null, filter: "" };
const layerOrder = { column: 3, down: true };
const layerColumns = [
  { title: "#", number: true, down: false, value: (row) => row.position, show: (row) => `${row.position}` },
  { title: "Layer", down: false, value: (row) => row.name, show: (row) => row.name },
  { title: "Operator", down: false, value: (row) => row.op_type, show: (row) => [row.op_type, ...row.fused].join(" + ") },
  { title: "Of the error", number: true, value: shareOf, show: (row) => percent(shareOf(row)) },
  { title: "If exact", number: true, value: (row) => row.what_if && row.what_if.gain_db, show: (row) => (row.what_if ? gained(row.what_if.gain_db) : "–") },
  { title: "Layer alone", number: true, down: false, value: (row) => row.local_db, show: (row) => (row.copies ? "copies" : decibels(row.local_db)) },
  { title: "Weights", number: true, down: false, value: (row) => row.weights_db, show: (row) => (row.weights ? decibels(row.weights_db) : "–") },
  { title: "Output", number: true, down: false, value: (row) => row.output_db, show: (row) => (row.output && !row.copies ? decibels(row.output_db) : "–") },
  { title: "So far", number: true, down: false, value: (row) => row.cumulative_db, show: (row) => (row.is_seen ? decibels(row.cumulative_db) : "–") },
];
layerOrder.decorate = (line, layer) => {
  line.setAttribute("aria-selected", String(layer.name === chosen.layer));
  line.tabIndex = 0;
  line.dataset.layer = layer.name;
  line.addEventListener("click", () => selectLayer(layer.name));
};

const current = () => targets[chosen.target];

function selectTarget(index) {
  chosen.target = index;
  const worst = [...current().layers].sort((a, b) => shareOf(b) - shareOf(a))[0];
  chosen.layer = worst ? worst.name : null;
  drawTarget();
}

function selectLayer(name) {
  chosen.layer = name;
  drawLayer();
}

function drawTabs() {
  const tabs = targets.map((target, index) => {
    const tab = element("button", { type: "button", role: "tab", "aria-selected": String(index === chosen.target), "aria-controls": "diagnosis-view", tabindex: index === chosen.target ? "0" : "-1" }, target.target);
    tab.addEventListener("click", () => selectTarget(index));
    return tab;
  });
  at("dx-tabs").replaceChildren(...tabs);
}

function drawSummary(target) {
  const text = element("p", {}, `Output SQNR ${decibels(target.output_sqnr_db)} by the plan's own arithmetic on ${target.sample_count} samples (${target.sample_origin}). `, element("b", {}, target.suggestion.text));
  at("dx-summary").replaceChildren(text, ...(target.suggestion.recipe ? copyable(target.suggestion.recipe) : []));
}

function drawTarget() {
  const target = current();
  drawTabs();
  drawSummary(target);
  at("dx-ladder").replaceChildren(target.ladder.length ? ladderChart(target) : element("p", { class: "soft" }, "This target runs nothing in float, or nothing would gain by it."));
  drawSamples(target.samples);
  drawSwaps(target.samples);
  drawLayer();
}

function drawLayer() {
  const target = current();
  const layer = target.layers.find((one) => one.name === chosen.layer);
  at("dx-chart").replaceChildren(layerChart(target.layers, chosen.layer, selectLayer, showTip));
  at("dx-panel").replaceChildren(...(layer ? layerPanel(layer) : []));
  if (layer) showTip(layer);
  drawTable();
}

function drawTable() {
  const words = chosen.filter.toLowerCase().split(/\s+/).filter(Boolean);
  const all = current().layers;
  const rows = all.filter((layer) => {
    const text = [layer.name, layer.value, layer.op_type, ...layer.fused, ...layer.findings.map((finding) => finding.cause)].join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  });
  at("dx-count").textContent = `${rows.length} of ${all.length}`;
  sortable(at("dx-layers"), layerColumns, rows, layerOrder, drawTable);
}

function showTip(layer) {
  at("dx-tip").textContent = `${layer.name} (${layer.op_type}): ${percent(shareOf(layer))} of the error, alone ${decibels(layer.local_db)}, so far ${layer.is_seen ? decibels(layer.cumulative_db) : "not seen"}`;
}

const named = (number) => (number === null ? "–" : `${number}`);

function drawSamples(samples) {
  const state = { column: 1, down: false };
  const columns = [
    { title: "Sample", down: false, value: (row) => row.id, show: (row) => row.id },
    { title: "SQNR", number: true, down: false, value: (row) => row.sqnr_db, show: (row) => decibels(row.sqnr_db) },
    { title: "Float", number: true, value: (row) => row.float_class, show: (row) => named(row.float_class) },
    { title: "Payload", number: true, value: (row) => row.payload_class, show: (row) => named(row.payload_class) },
    { title: "Label", number: true, value: (row) => row.label, show: (row) => named(row.label) },
  ];
  const seen = new Set(samples.worst.map((row) => row.id));
  const rows = [...samples.worst, ...samples.changed.filter((row) => !seen.has(row.id))];
  const draw = () => sortable(at("dx-samples"), columns, rows, state, draw);
  draw();
}

function drawSwaps(samples) {
  at("dx-changed").textContent = samples.class_samples ? `Top class changed in ${samples.changed_count} of ${samples.class_samples} samples.` : "The outputs are no vector of classes.";
  const state = { column: 2, down: true };
  const columns = [
    { title: "Float", number: true, down: false, value: (row) => row.float_class, show: (row) => `${row.float_class}` },
    { title: "Payload", number: true, down: false, value: (row) => row.payload_class, show: (row) => `${row.payload_class}` },
    { title: "Samples", number: true, value: (row) => row.count, show: (row) => `${row.count} of ${row.float_class_count}` },
    { title: "Float right", number: true, value: (row) => row.float_right, show: (row) => named(row.float_right) },
    { title: "Payload right", number: true, value: (row) => row.payload_right, show: (row) => named(row.payload_right) },
  ];
  const draw = () => sortable(at("dx-swaps"), columns, samples.swaps, state, draw);
  draw();
}

at("dx-filter").addEventListener("input", (event) => {
  chosen.filter = event.target.value;
  drawTable();
});

at("dx-tabs").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  selectTarget((chosen.target + step + targets.length) % targets.length);
  at("dx-tabs").children[chosen.target].focus();
});

at("dx-chart").addEventListener("keydown", (event) => {
  const layers = current().layers, index = layers.findIndex((layer) => layer.name === chosen.layer);
  const next = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: layers.length - 1 }[event.key];
  if (next === undefined || !layers.length) return;
  event.preventDefault();
  selectLayer(layers[Math.min(Math.max(next, 0), layers.length - 1)].name);
});

at("dx-layers").addEventListener("keydown", (event) => {
  const line = event.target.closest("tbody tr");
  if (!line) return;
  const next = { ArrowDown: line.nextElementSibling, ArrowUp: line.previousElementSibling }[event.key];
  if (next) next.focus();
  else if (event.key === "Enter" || event.key === " ") {
    const name = line.dataset.layer;
    selectLayer(name);
    [...at("dx-layers").querySelectorAll("tbody tr")].find((one) => one.dataset.layer === name)?.focus();
  } else return;
  event.preventDefault();
});

selectTarget(0);
