// The models: follows what happens, and sets aliases.

import { ask } from "./api.js";
import { follow } from "./live.js";
import { tell } from "./messages.js";
import { refresh } from "./refresh.js";

const form = document.getElementById("alias-form");
const problem = document.getElementById("alias-problem");
// The lists to choose from are exchanged when models come; what was chosen stays.
const chosen = {};

function refuse(text) {
  problem.textContent = text;
  problem.hidden = !text;
}

form.addEventListener("change", ({ target }) => (chosen[target.name] = target.value));

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  refuse("");
  const { alias, experiment_id, variant, shadows, not_worse } = form.elements;
  const name = alias.value.trim();
  const target = { experiment_id: Number(experiment_id.value), variant: variant.value, shadows: shadows.value || null, not_worse: not_worse.checked };
  try {
    const set = await ask("PUT", `/v1/models/aliases/${encodeURIComponent(name)}`, target);
    tell(`${set.alias} means model ${set.experiment_id} now.`);
    await refresh();
  } catch (error) {
    refuse(error.message);
  }
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-name]");
  if (!button) return;
  form.elements.experiment_id.value = chosen.experiment_id = button.dataset.name;
  form.scrollIntoView({ block: "center" });
  form.elements.alias.focus();
});

document.addEventListener("numeral:refreshed", () => {
  for (const name of ["experiment_id", "shadows"]) {
    const select = form.elements[name];
    if (chosen[name] !== undefined && [...select.options].some(({ value }) => value === chosen[name])) select.value = chosen[name];
  }
  form.hidden = form.elements.experiment_id.options.length === 0;
});

follow();
