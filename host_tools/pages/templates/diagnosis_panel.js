// Tables that sort, and the panel about one layer.
const shareOf = (layer) => (layer.what_if ? layer.what_if.noise_share : 0);

function sortable(table, columns, rows, state, redraw) {
  const head = element("tr");
  columns.forEach((column, index) => {
    const mark = state.column === index ? (state.down ? " ▼" : " ▲") : "";
    const button = element("button", { type: "button" }, column.title + mark);
    button.addEventListener("click", () => {
      state.down = state.column === index ? !state.down : column.down ?? true;
      state.column = index;
      redraw();
    });
    const order = state.column === index ? (state.down ? "descending" : "ascending") : "none";
    head.append(element("th", { class: column.number ? "number" : "", "aria-sort": order, scope: "col" }, button));
  });
  const column = columns[state.column];
  const ordered = [...rows].sort((a, b) => compare(column.value(a), column.value(b)) * (state.down ? -1 : 1));
  const body = element("tbody");
  for (const row of ordered) {
    const line = element("tr");
    for (const one of columns) line.append(element("td", { class: one.number ? "number" : "mono" }, one.show(row)));
    state.decorate?.(line, row);
    body.append(line);
  }
  table.replaceChildren(element("thead", {}, head), body);
}

// What is not there (exact, not measured) comes last going down.
function compare(a, b) {
  if (a === null || b === null) return (a !== null) - (b !== null);
  return typeof a === "string" ? a.localeCompare(b) : a - b;
}

function copyable(text) {
  const button = element("button", { type: "button", class: "dx-copy" }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(button.previousElementSibling);
      button.textContent = "Selected: press Ctrl+C";
    }
  });
  return [element("pre", {}, text), button];
}

function layerPanel(layer) {
  const parts = [element("h3", { class: "mono" }, `${layer.name}: ${[layer.op_type, ...layer.fused].join(" + ")}, ${layer.precision}`)];
  if (layer.copies) parts.push(element("p", {}, `It passes on the codes of ${layer.copies} and loses nothing by itself.`));
  const reasons = element("ul");
  for (const finding of layer.findings) reasons.append(element("li", {}, finding.text));
  if (layer.findings.length) parts.push(reasons);
  for (const remedy of layer.remedies) {
    parts.push(element("p", {}, element("b", {}, `${gained(remedy.gain_db)} `), remedy.text));
    if (remedy.recipe) parts.push(...copyable(remedy.recipe));
  }
  parts.push(numbers(layer), element("div", { class: "dx-columns" }, ...[["Output", layer.output], ["Weights", layer.weights]].filter(([, tensor]) => tensor).map(([title, tensor]) => tensorPart(title, tensor))));
  parts.push(element("p", { class: "soft" }, layer.reason));
  return parts;
}

function numbers(layer) {
  const what = layer.what_if;
  const rows = [["SQNR of its output, all quantized, in the engine", layer.is_seen ? decibels(layer.cumulative_db) : "not seen"]];
  if (!layer.copies) rows.push(["this layer alone", decibels(layer.local_db)]);
  if (layer.weights) rows.push(["its weights alone", decibels(layer.weights_db)]);
  if (layer.output && !layer.copies) rows.push(["its output alone", decibels(layer.output_db)]);
  if (what) {
    rows.push(["SQNR at the network's output, this layer alone quantized", decibels(what.alone_db)]);
    rows.push(["What if it were exact, all others quantized", gained(what.gain_db)]);
    if (what.gain_weights_db !== null) rows.push(["its weights exact (keep_float)", gained(what.gain_weights_db)]);
    if (what.gain_output_db !== null) rows.push(["its output exact (16 bits)", gained(what.gain_output_db)]);
  }
  return element("table", { class: "dx-numbers" }, ...rows.map(([name, value]) => element("tr", {}, element("td", {}, name), element("td", { class: "number" }, value))));
}

function tensorPart(title, tensor) {
  const scales = tensor.scales === 1 ? `scale ${short(tensor.scale)}` : `${tensor.scales} scales up to ${short(tensor.scale)}`;
  const part = element("div", {}, element("h3", {}, title));
  part.append(histogramChart(tensor));
  part.append(element("p", { class: "soft" }, `${tensor.dtype}, ${scales}, zero point ${tensor.zero_point}. The middle 99.9 % span ${tensor.bulk_levels} of ${tensor.levels} codes. ${percent(tensor.clipped_share)} clipped, ${percent(tensor.clipping_noise_share)} of the rounding error. ${tensor.reason}.`));
  if (tensor.channel_count > 1) {
    const table = element("table"), state = { column: 1, down: false };
    const columns = [
      { title: "Channel", number: true, down: false, value: (row) => row.channel, show: (row) => `${row.channel}` },
      { title: "SQNR", number: true, down: false, value: (row) => row.sqnr_db, show: (row) => decibels(row.sqnr_db) },
      { title: "Lowest", number: true, value: (row) => row.low, show: (row) => short(row.low) },
      { title: "Highest", number: true, value: (row) => row.high, show: (row) => short(row.high) },
      { title: "Codes", number: true, down: false, value: (row) => row.codes, show: (row) => `${row.codes}` },
      { title: "Of the error", number: true, value: (row) => row.noise_share, show: (row) => percent(row.noise_share) },
    ];
    const draw = () => sortable(table, columns, tensor.channels, state, draw);
    draw();
    part.append(element("p", {}, `${tensor.narrow_channels} of ${tensor.channel_count} channels span less than an eighth of the codes. The worst:`), element("div", { class: "dx-scroll" }, table));
  }
  return part;
}
