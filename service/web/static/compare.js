// The comparison: the curves of all runs in one chart for the loss, and one for the accuracy.

import { drawLines, emphasise, lineColour, onScheme } from "./charts.js";
import { follow } from "./live.js";

// With more of them, twice as many lines cannot be told apart.
const MOST_WITH_BOTH = 4;

const which = document.getElementById("which");
const scale = document.getElementById("scale");
const smoothing = document.getElementById("smoothing");
const note = document.getElementById("curves-note");
const charts = ["loss", "accuracy"].map((metric) => ({ metric, place: document.getElementById(metric) }));

function readRuns() {
  return JSON.parse(document.getElementById("curves").textContent);
}

/** The lines of a metric; training is dotted where validation is drawn, too. */
function linesOf(runs, metric) {
  const kinds = which.value === "both" ? ["train", "val"] : [which.value];
  const words = { train: "training", val: "validation" };
  return runs.flatMap((run, index) => kinds.map((kind) => ({
    run: index,
    name: kinds.length > 1 ? `${run.name}, ${words[kind]}` : run.name,
    about: run.about,
    colour: lineColour(index),
    dash: kinds.length > 1 && kind === "train" ? "dot" : "solid",
    x: run.epochs,
    y: run[`${kind}_${metric}`],
  }))).filter((line) => line.y.some((value) => value !== null));
}

function draw() {
  const runs = readRuns();
  const weight = Number(smoothing.value);
  for (const chart of charts) {
    const lines = linesOf(runs, chart.metric);
    const isLoss = chart.metric === "loss";
    const title = `${isLoss ? "Loss" : "Accuracy"} by epoch of ${runs.length} experiments`;
    // The legend is above, one for both charts.
    const owners = drawLines(chart.place, lines, { title, log: isLoss && scale.value === "log", smoothing: weight, percent: !isLoss, legend: false });
    chart.runs = owners.map((owner) => lines[owner].run);
  }
  note.textContent = words(runs);
}

function words(runs) {
  const waiting = runs.filter((run) => run.epochs.length === 0).length;
  if (waiting === runs.length) return "No epoch is finished yet: the curves come as soon as one is.";
  const parts = [];
  if (which.value === "both") parts.push("Training is dotted, validation solid.");
  if (runs.length > 1) parts.push("Point at an experiment to find its curve.");
  if (which.value === "val" && runs.some((run) => run.epochs.length && run.val_loss.every((value) => value === null))) parts.push("Some were trained without validation.");
  return parts.join(" ");
}

let emphasised = null;
function point(event) {
  const column = event.target.closest?.("[data-line]");
  const run = column ? Number(column.dataset.line) : null;
  if (run === emphasised) return;
  emphasised = run;
  for (const { place, runs } of charts) if (runs?.length) emphasise(place, runs, (owner) => run === null || owner === run);
}

const runs = readRuns();
const areWatched = runs.some((run) => run.val_accuracy.some((value) => value !== null));
which.value = areWatched && runs.length > MOST_WITH_BOTH ? "val" : "both";
which.addEventListener("change", draw);
scale.addEventListener("change", draw);
smoothing.addEventListener("input", draw);
document.getElementById("curves-form").addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("pointerover", point);
document.addEventListener("focusin", point);
document.addEventListener("numeral:refreshed", draw);
onScheme(draw);
draw();
follow();
