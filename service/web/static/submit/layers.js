// The list of a model's layers: each unfolds to its fields, and can be moved, copied and removed.

import { element } from "./elements.js";
import { begun, variantOf } from "./schema.js";
import { short } from "./spec.js";

/**
 * @param {import("./schema.js").Field} field a list of a union.
 * @param {Function} controls makes the controls of a layer's fields.
 */
export function layers(field, path, slot, form, controls) {
  const { item } = field;
  const list = element("ol", { class: "layers" });
  // Layers stay unfolded wherever they move to.
  const unfolded = new WeakSet();

  const change = (next, focus) => {
    slot.set(next);
    form.changed();
    draw(focus);
  };

  const draw = (focus) => {
    list.replaceChildren(...slot.get().map(row));
    if (focus) list.children[focus.index]?.querySelector(focus.selector)?.focus();
  };

  function row(layer, index) {
    const place = `${path}[${index}]`;
    const about = element("span", { class: "layer-about" });
    const tell = () => (about.textContent = summary(item, layer));
    tell();
    const inner = { ...form, changed: () => (tell(), form.changed()) };
    const size = element("span", { class: "layer-size", "data-layer-size": index });
    const title = element("summary", {}, element("strong", {}, layer[item.tag]), " ", about, size);
    const details = element("details", {}, title, fields(layer, index, place, inner));
    details.open = unfolded.has(layer);
    details.addEventListener("toggle", () => (details.open ? unfolded.add(layer) : unfolded.delete(layer)));
    const problem = element("span", { class: "problem", id: `problem-${place}` });
    return element("li", { class: "layer", "data-field": place }, details, buttons(layer, index), problem);
  }

  function fields(layer, index, place, inner) {
    const kinds = element("select", { id: `field-${place}` }, ...kindOptions(item));
    kinds.value = layer[item.tag];
    kinds.addEventListener("change", () => {
      const other = begun(item.variants.get(kinds.value), form.starts);
      unfolded.add(other);
      change(slot.get().with(index, other), { index, selector: "select" });
    });
    const kind = element("div", { class: "field" }, element("label", { for: kinds.id }, "Type"), kinds);
    return element("div", { class: "grid" }, kind, ...controls(variantOf(item, layer), place, layer, inner));
  }

  function buttons(layer, index) {
    const all = slot.get();
    const without = all.toSpliced(index, 1);
    const moved = (by) => change(without.toSpliced(index + by, 0, layer), { index: index + by, selector: by < 0 ? "[data-do=up]" : "[data-do=down]" });
    const number = index + 1;
    const up = button("up", "↑", `Move layer ${number} up`, () => moved(-1));
    const down = button("down", "↓", `Move layer ${number} down`, () => moved(1));
    up.disabled = index === 0;
    down.disabled = index === all.length - 1;
    const copy = button("copy", "Copy", `Copy layer ${number}`, () => change(all.toSpliced(number, 0, structuredClone(layer)), { index: number, selector: "summary" }));
    const remove = button("remove", "×", `Remove layer ${number}`, () => {
      change(without, { index: Math.min(index, without.length - 1), selector: "[data-do=remove]" });
      if (without.length === 0) kind.focus();
    });
    return element("span", { class: "layer-buttons" }, up, down, copy, remove);
  }

  const kind = element("select", { id: `new-${path}`, "aria-label": "Type of a new layer" }, ...kindOptions(item));
  const add = element("button", { type: "button", class: "button" }, "Add a layer");
  add.addEventListener("click", () => {
    const layer = begun(item.variants.get(kind.value), form.starts);
    unfolded.add(layer);
    change([...slot.get(), layer], { index: slot.get().length, selector: "select" });
  });
  draw();
  const problem = element("span", { class: "problem", id: `problem-${path}` });
  return element("div", { "data-field": path }, list, problem, element("p", { class: "row" }, kind, add));
}

function kindOptions(item) {
  return [...item.variants.keys()].map((name) => element("option", {}, name));
}

function button(what, text, label, act) {
  const made = element("button", { type: "button", class: "button small", "aria-label": label, title: label, "data-do": what }, text);
  made.addEventListener("click", act);
  return made;
}

function summary(item, layer) {
  const said = Object.entries(short(item, layer)).filter(([name]) => name !== item.tag);
  return said.map(([name, value]) => `${name.replaceAll("_", " ")} ${Array.isArray(value) ? value.join("×") : value ?? "–"}`).join(" · ");
}
