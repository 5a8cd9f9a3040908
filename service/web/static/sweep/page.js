// A sweep's page: its charts, and the trials that are chosen in them and in the table alike.

import { Bounds } from "./bounds.js";
import { Brushes } from "./brushes.js";
import { onScheme } from "../charts.js";
import { drawHistory } from "./history.js";
import { Parallel } from "./parallel.js";
import { refresh } from "../refresh.js";
import { written } from "./scale.js";
import "./follow.js";

const HINT = "Point at a line, or at a row of the table, to see its trial; click a line to find it in the table.";
const byId = (id) => document.getElementById(id);
const brushes = new Brushes();
let data = null;
let lit = null;

const parallel = new Parallel(byId("parallel"), { brush: ({ key }, brush) => choose(key, brush), point, pick });
const bounds = new Bounds(byId("bounds-form"), choose);

function draw() {
  data = JSON.parse(byId("data").textContent);
  parallel.draw(data.axes, data.lines, brushes);
  drawHistory(byId("history"), data.progress, data.objective);
  byId("history").hidden = data.progress.length === 0;
  byId("history-note").textContent = data.progress.length ? "" : "No trial has succeeded yet.";
  // Without this script a choice needs a button.
  byId("grid-show")?.setAttribute("hidden", "");
  showChoice();
}

function choose(key, brush) {
  brushes.set(key, brush);
  parallel.choose(brushes);
  showChoice();
}

function showChoice() {
  for (const row of document.querySelectorAll("[data-trial]")) row.classList.toggle("out", !parallel.chosen.has(Number(row.dataset.trial)));
  bounds.show(brushes);
  byId("clear").hidden = brushes.areNone;
  byId("only-label").hidden = brushes.areNone;
  byId("chosen").textContent = brushes.areNone ? "" : `${parallel.chosen.size} of ${data.lines.length} trials chosen`;
  point(lit, true);
}

/** A trial is pointed at, in the chart or in the table; none with null. */
function point(trial, again = false) {
  if (trial === lit && !again) return;
  if (lit !== null) rowOf(lit)?.classList.remove("lit");
  lit = trial;
  if (lit !== null) rowOf(lit)?.classList.add("lit");
  parallel.light(lit);
  byId("readout").textContent = lit === null ? HINT : described(lit);
}

function described(trial) {
  const line = data.lines.find(({ number }) => number === trial);
  if (!line) return "";
  const said = data.axes.flatMap((axis, index) => {
    const value = line.values[index];
    if (value === null) return [];
    return [`${axis.title} ${axis.kind === "category" ? axis.categories[value] : written(value)}`];
  });
  return [`Trial ${trial}`, ...said].join(" · ");
}

function rowOf(trial) {
  return document.querySelector(`[data-trial="${trial}"]`);
}

/** A line was clicked: show the trial in the table. */
function pick(trial) {
  const row = rowOf(trial);
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  row?.scrollIntoView({ block: "center", behavior: calm ? "auto" : "smooth" });
  row?.querySelector("a")?.focus({ preventScroll: true });
}

for (const kind of ["pointerover", "focusin"]) {
  byId("frame").addEventListener(kind, (event) => {
    const row = event.target.closest("[data-trial]");
    point(row ? Number(row.dataset.trial) : null);
  });
}
byId("frame").addEventListener("pointerleave", () => point(null));

byId("clear").addEventListener("click", () => {
  brushes.clear();
  parallel.choose(brushes);
  showChoice();
});
byId("only").addEventListener("change", (event) => byId("frame").classList.toggle("only", event.target.checked));

document.addEventListener("change", (event) => {
  const form = event.target.closest("#grid-form");
  if (!form) return;
  // The other axis gives way where both would be the same.
  const given = new FormData(form);
  if (given.get("rows") === given.get("columns")) given.delete(event.target.name === "rows" ? "columns" : "rows");
  refresh(new URL(`${location.pathname}?${new URLSearchParams(given)}`, location).href);
});
document.addEventListener("numeral:refreshed", draw);
onScheme(draw);
new ResizeObserver(() => parallel.draw(data.axes, data.lines, brushes)).observe(byId("parallel-wide"));
draw();
