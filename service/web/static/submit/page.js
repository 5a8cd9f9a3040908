// The form that submits an experiment: filled from a preset or an experiment, checked by the service while it changes,
// and written beside it as code.

import { Refusal, ask } from "../api.js";
import { curl, python, written } from "./code.js";
import { control, slotOf } from "./controls.js";
import { element } from "./elements.js";
import { focusFirst, show } from "./problems.js";
import { complete, read } from "./schema.js";
import { requestOf, same } from "./spec.js";
import { submitOnce } from "./submission.js";

const PAUSE_MS = 300;
const ADDRESS = new URL("/v1/experiments", location).href;
const KEPT = ["tags", "priority", "max_attempts", "reuse"];

const data = JSON.parse(document.getElementById("form-data").textContent);
const schema = read(data.schema);
const root = { ...schema, fields: schema.fields.filter(({ name }) => name !== "preset") };
const form = document.getElementById("submission");
const fields = document.getElementById("fields");
const submit = document.getElementById("submit");
const verdict = document.getElementById("verdict");
const problems = document.getElementById("form-problems");

// What was typed comes back with the page.
const kept = history.state?.spec ? history.state : data;
let { preset } = kept;
let spec = filled(kept.spec);
let origin = filled(data.spec);
let due = null;
let asked = null;

function filled(given) {
  return complete(root, structuredClone(given), data.starts);
}

function request() {
  return requestOf(root, spec, preset, data.presets[preset]);
}

function draw() {
  for (const input of form.elements.preset) input.checked = input.value === preset;
  document.getElementById("preset-name").textContent = preset || "from scratch";
  fields.replaceChildren(...data.groups.map(group));
  changed();
}

function group({ title, fields: names, rare }) {
  const made = (name) => {
    const field = root.fields.find((each) => each.name === name);
    return control(field, name, slotOf(spec, name), { starts: data.starts, suggestions: data.suggestions, changed });
  };
  const usual = element("div", { class: "grid" }, ...names.filter((name) => !rare.includes(name)).map(made));
  const parts = [element("legend", {}, title), usual];
  if (rare.length) parts.push(element("details", { class: "rare" }, element("summary", {}, "Seldom changed"), element("div", { class: "grid" }, ...rare.map(made))));
  return element("fieldset", { class: "card" }, ...parts);
}

function changed() {
  const asking = request();
  document.getElementById("curl").textContent = curl(ADDRESS, asking);
  document.getElementById("python").textContent = python(ADDRESS, asking);
  document.getElementById("json").textContent = written(asking);
  const names = Object.keys(asking).filter((name) => name !== "preset");
  document.getElementById("changed").textContent = names.length || "nothing";
  for (const place of fields.querySelectorAll("[data-field]")) place.classList.toggle("is-changed", names.includes(place.dataset.field));
  document.getElementById("undo").disabled = same(spec, origin);
  history.replaceState({ spec, preset }, "");
  clearTimeout(due);
  due = setTimeout(check, PAUSE_MS);
}

async function check() {
  asked?.abort();
  asked = new AbortController();
  try {
    accepted(await ask("POST", `${ADDRESS}/validate`, request(), asked));
  } catch (error) {
    if (error.name !== "AbortError") refused(error);
  }
}

function accepted({ parameters, layers }) {
  tell([]);
  show(fields, {});
  verdict.textContent = "Ready to be submitted.";
  document.getElementById("parameters").textContent = parameters.toLocaleString("en");
  for (const size of fields.querySelectorAll("[data-layer-size]")) {
    const layer = layers[size.dataset.layerSize];
    size.textContent = layer ? `${layer.shape.join("×")}${layer.parameters ? `, ${layer.parameters.toLocaleString("en")}` : ""}` : "";
    size.title = "what it puts out, and its parameters";
  }
}

function refused(error) {
  const paths = Object.keys(error.fields ?? {});
  tell(paths.length ? show(fields, error.fields) : [error.message]);
  verdict.textContent = paths.length ? `Not yet: ${paths.length === 1 ? "a field needs" : `${paths.length} fields need`} a change.` : "";
  if (!paths.some((path) => path.startsWith("model"))) return;
  document.getElementById("parameters").textContent = "–";
  for (const size of fields.querySelectorAll("[data-layer-size]")) size.textContent = "";
}

/** Problems that no field is to blame for. */
function tell(lines) {
  problems.replaceChildren(...lines.map((line) => element("li", {}, line)));
  problems.hidden = lines.length === 0;
}

form.addEventListener("change", (event) => {
  if (event.target.name !== "preset") return;
  const name = spec.name === data.presets[preset].name ? {} : { name: spec.name };
  preset = event.target.value;
  origin = filled(data.presets[preset]);
  spec = { ...filled(origin), ...name, ...Object.fromEntries(KEPT.map((each) => [each, spec[each]])) };
  draw();
  document.getElementById("source")?.remove();
  history.replaceState(history.state, "", `/submit?preset=${encodeURIComponent(preset)}`);
});

document.getElementById("undo").addEventListener("click", () => {
  spec = filled(origin);
  draw();
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (submit.disabled) return;
  clearTimeout(due);
  asked?.abort();
  submit.disabled = true;
  try {
    const experiment = await submitOnce(ADDRESS, request());
    location.assign(`/experiments/${experiment.id}`);
  } catch (error) {
    submit.disabled = false;
    if (!(error instanceof Refusal)) throw error;
    refused(error);
    focusFirst(fields);
  }
});

// Browsers may keep the page as it was left.
addEventListener("pageshow", () => (submit.disabled = false));

form.hidden = false;
draw();
