// The same choice as by dragging along an axis, by fields: for the keyboard, and for exact values.

import { written } from "./scale.js";

export class Bounds {
  /** @param {(key: string, brush: import("./brushes.js").Brush | null) => void} tell who is told of what is chosen */
  constructor(form, tell) {
    this.form = form;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", (event) => {
      const fields = event.target.closest("fieldset");
      tell(fields.dataset.axis, asked(fields));
    });
  }

  /** Write what is chosen into the fields, but for the one that is being written in. */
  show(brushes) {
    for (const fields of this.form.querySelectorAll("fieldset")) {
      const brush = brushes.get(fields.dataset.axis);
      for (const box of fields.querySelectorAll("[type=checkbox]")) box.checked = !brush || brush.has(Number(box.value));
      for (const field of fields.querySelectorAll("[data-bound]")) {
        const bound = brush?.[field.dataset.bound];
        if (field !== document.activeElement) write(field, Number.isFinite(bound) ? bound : null);
      }
    }
  }
}

// A field shows a rounded value; what it stands for stays beside it, until it is written anew.
function write(field, value) {
  field.value = value === null ? "" : written(value);
  field.dataset.exact = value === null ? "" : value;
  field.dataset.shown = field.value;
}

function read(field) {
  if (field.value === "") return null;
  return Number(field.value === field.dataset.shown ? field.dataset.exact : field.value);
}

function asked(fields) {
  const boxes = [...fields.querySelectorAll("[type=checkbox]")];
  if (boxes.length) {
    const checked = boxes.filter((box) => box.checked);
    return checked.length === boxes.length ? null : new Set(checked.map((box) => Number(box.value)));
  }
  const [low, high] = ["low", "high"].map((bound) => read(fields.querySelector(`[data-bound=${bound}]`)));
  return low === null && high === null ? null : { low: low ?? -Infinity, high: high ?? Infinity };
}
