// An experiment's page: its curves, as they grow.

import { drawLines, lineColour, onScheme } from "./charts.js";
import { follow } from "./live.js";
import { refresh } from "./refresh.js";

const { id, state, metrics } = JSON.parse(document.getElementById("experiment").textContent);
const epochs = new Map(metrics.map((row) => [row.epoch, row]));
const smoothing = document.getElementById("smoothing");
const log = document.getElementById("log");

const LINES = [
  { name: "train", field: "train", colour: 1 },
  { name: "validation", field: "val", colour: 0 },
];

function draw() {
  const rows = [...epochs.values()].sort((one, other) => one.epoch - other.epoch);
  document.getElementById("no-curves").hidden = rows.length > 0;
  document.getElementById("charts").hidden = rows.length === 0;
  if (rows.length === 0) return;
  const x = rows.map((row) => row.epoch);
  const weight = Number(smoothing.value);
  for (const measure of ["accuracy", "loss"]) {
    const lines = LINES.map(({ name, field, colour }) => ({ name, colour: lineColour(colour), x, y: rows.map((row) => row[`${field}_${measure}`]) }))
      .filter(({ y }) => y.some((value) => value !== null));
    const isLoss = measure === "loss";
    const options = { title: `Learning curve: ${measure}`, smoothing: weight, log: isLoss && log.checked, percent: !isLoss };
    drawLines(document.getElementById(measure), lines, options);
  }
}

smoothing.addEventListener("input", () => {
  document.getElementById("smoothing-value").textContent = smoothing.value;
  draw();
});
log.addEventListener("change", draw);
onScheme(draw);
draw();
follow();

// Its own stream tells of each epoch at once; after the end there is nothing more to come, unless it is begun anew.
let stream = null;

function listen() {
  stream = new EventSource(`/v1/experiments/${id}/events`);
  stream.addEventListener("started", (event) => {
    // What an earlier attempt measured after its last checkpoint is measured again.
    const { epoch: kept } = JSON.parse(event.data);
    for (const epoch of [...epochs.keys()]) if (epoch > kept) epochs.delete(epoch);
    draw();
  });
  stream.addEventListener("epoch", (event) => {
    const row = JSON.parse(event.data);
    epochs.set(row.epoch, row);
    draw();
  });
  for (const end of ["succeeded", "failed", "cancelled"]) {
    stream.addEventListener(end, () => refresh());
  }
  // The service closes the stream when the experiment has ended; the browser would ask for it again and again.
  stream.addEventListener("error", close);
}

function close() {
  stream?.close();
  stream = null;
}

const ENDED = ["succeeded", "failed", "cancelled"];
if (!ENDED.includes(state)) listen();
document.addEventListener("numeral:refreshed", () => {
  const badge = document.querySelector("#head .badge");
  if (!stream && !ENDED.includes(badge.textContent)) listen();
});
