// Controls for the fields of a spec, made from its schema.
//
// A control reads and writes its value through a slot, `{get(), set(value)}`, and says so to `form.changed()`. `form` also
// has `starts` and `suggestions`: first values, and texts that may be meant, by a field's name.

import { element, prose } from "./elements.js";
import { layers } from "./layers.js";
import { begun, variantOf } from "./schema.js";

/** Where an object keeps a field. */
export function slotOf(object, key) {
  return { get: () => object[key], set: (value) => (object[key] = value) };
}

/** @returns {HTMLElement} it has the field's path as `data-field`. */
export function control(field, path, slot, form) {
  switch (field.kind) {
    case "number":
      return leaf(field, path, numberInput(slot, field, form));
    case "text":
      return leaf(field, path, textInput(slot, field, path, form));
    case "choice":
      return leaf(field, path, select(field.options, slot.get(), (value) => write(slot, value, form)));
    case "boolean":
      return toggle(field, path, slot.get(), (isOn) => write(slot, isOn, form));
    case "pair":
      return pair(field, path, slot, form);
    case "words":
      return words(field, path, slot, form);
    case "list":
      return layers(field, path, slot, form, controls);
    case "union":
      return union(field, path, slot, form);
    default:
      return field.isNullable ? optional(field, path, slot, form) : object(field, path, slot, form);
  }
}

/** The controls of an object's fields. */
export function controls(field, path, value, form) {
  const shown = field.fields.filter((part) => part.kind !== "constant");
  return shown.map((part) => control(part, path ? `${path}.${part.name}` : part.name, slotOf(value, part.name), form));
}

function write(slot, value, form) {
  slot.set(value);
  form.changed();
}

function leaf(field, path, input, ...more) {
  const id = `field-${path}`;
  input.id = id;
  input.dataset.of = path;
  input.setAttribute("aria-describedby", `about-${path} problem-${path}`);
  return element("div", { class: "field", "data-field": path }, element("label", { for: id }, field.title), input, ...more, ...notes(field, path));
}

function notes(field, path) {
  return [
    element("span", { class: "about", id: `about-${path}` }, ...prose(field.about)),
    element("span", { class: "problem", id: `problem-${path}` }),
  ];
}

function numberInput(slot, { isInteger, min, max, isNullable }, form) {
  const input = element("input", { type: "number", step: isInteger ? 1 : "any", inputmode: isInteger ? "numeric" : "decimal" });
  if (min !== undefined) input.min = min;
  if (max !== undefined) input.max = max;
  if (isNullable) input.placeholder = "none";
  input.value = slot.get() ?? "";
  // An empty field is null: where that cannot be, the service says so.
  input.addEventListener("input", () => write(slot, input.value === "" ? null : Number(input.value), form));
  // A wheel that scrolls the page changes no number.
  input.addEventListener("wheel", () => input.blur(), { passive: true });
  return input;
}

function textInput(slot, { name }, path, form) {
  const input = element("input", { type: "text", value: slot.get(), autocomplete: "off", spellcheck: "false" });
  const known = form.suggestions[name];
  if (known) {
    const list = element("datalist", { id: `known-${path}` }, ...known.map((text) => element("option", { value: text })));
    input.setAttribute("list", list.id);
    document.getElementById(list.id) ?? document.body.append(list);
  }
  input.addEventListener("input", () => write(slot, input.value, form));
  return input;
}

function select(options, chosen, choose) {
  const input = element("select", {}, ...options.map((option) => element("option", {}, option)));
  input.value = chosen;
  input.addEventListener("change", () => choose(input.value));
  return input;
}

function toggle(field, path, isOn, choose, title = field.title) {
  const id = `field-${path}`;
  const input = element("input", { type: "checkbox", id, "data-of": path, "aria-describedby": `about-${path} problem-${path}` });
  input.checked = isOn;
  input.addEventListener("change", () => choose(input.checked));
  return element("div", { class: "field toggle", "data-field": path }, element("label", { for: id }, input, ` ${title}`), ...notes(field, path));
}

function pair(field, path, slot, form) {
  const given = slot.get() ?? [null, null];
  const inputs = field.fields.map((part, index) => {
    // Both empty are null: that is what such a pair is without a value.
    const place = {
      get: () => given[index],
      set: (value) => {
        given[index] = value;
        slot.set(field.isNullable && given.every((each) => each === null) ? null : [...given]);
      },
    };
    const input = numberInput(place, { ...part, isNullable: field.isNullable }, form);
    input.dataset.of = `${path}[${index}]`;
    input.setAttribute("aria-label", `${field.title}: ${["height", "width"][index]}`);
    input.setAttribute("aria-describedby", `about-${path} problem-${path}`);
    return input;
  });
  const title = element("span", { class: "label", id: `label-${path}` }, field.title);
  const both = element("span", { class: "pair" }, inputs[0], " × ", inputs[1]);
  return element("div", { class: "field", role: "group", "aria-labelledby": title.id, "data-field": path }, title, both, ...notes(field, path));
}

function words(field, path, slot, form) {
  const chips = element("span", { class: "row" });
  const input = element("input", { type: "text", autocomplete: "off", placeholder: "add one" });

  const draw = () => {
    chips.replaceChildren(...slot.get().map((word, index) => {
      const remove = element("button", { type: "button", "aria-label": `Remove ${word}` }, "×");
      remove.addEventListener("click", () => {
        keep(slot.get().filter((_, place) => place !== index));
        input.focus();
      });
      return element("span", { class: "tag chip" }, word, remove);
    }));
  };
  const keep = (list) => {
    write(slot, list, form);
    draw();
  };
  const add = () => {
    const found = input.value.split(",").map((word) => word.trim()).filter(Boolean);
    input.value = "";
    if (found.length) keep([...new Set([...slot.get(), ...found])]);
  };
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === ",") {
      event.preventDefault();
      add();
    } else if (event.key === "Backspace" && input.value === "" && slot.get().length) keep(slot.get().slice(0, -1));
  });
  input.addEventListener("change", add);
  draw();
  return leaf({ ...field, about: field.about ?? "Enter or a comma ends one." }, path, input, chips);
}

function object(field, path, slot, form) {
  const place = element("div", { class: "object", "data-field": path });
  const problem = element("span", { class: "problem", id: `problem-${path}` });
  place.append(element("p", { class: "about" }, ...prose(field.about)), ...inside(field, path, slot.get(), form), problem);
  return place;
}

// A single list has the group to itself; other fields stand in a grid.
function inside(field, path, value, form) {
  const parts = controls(field, path, value, form);
  return field.fields.some((part) => part.kind === "list") ? parts : [element("div", { class: "grid" }, ...parts)];
}

/** An object that may be null: a box to tick, and its fields while it is ticked. */
function optional(field, path, slot, form) {
  const parts = element("div", { class: "parts" });
  const draw = () => parts.replaceChildren(...(slot.get() === null ? [] : inside(field, path, slot.get(), form)));
  const place = toggle(field, path, slot.get() !== null, (isOn) => {
    write(slot, isOn ? begun(field, form.starts) : null, form);
    draw();
  });
  place.classList.add("optional");
  place.append(parts);
  draw();
  return place;
}

/** One of several kinds of object: the kind, and its fields. */
function union(field, path, slot, form) {
  const NONE = "none: leave it out";
  const kinds = [...(field.isNullable ? [NONE] : []), ...field.variants.keys()];
  const parts = element("div", { class: "grid" });
  const kind = element("span", { class: "about" });
  const draw = () => {
    const value = slot.get();
    const variant = value && variantOf(field, value);
    parts.replaceChildren(...(value ? controls(variant, path, value, form) : []));
    kind.replaceChildren(...prose(variant?.about));
  };
  const input = select(kinds, slot.get()?.[field.tag] ?? NONE, (value) => {
    write(slot, value === NONE ? null : begun(field.variants.get(value), form.starts), form);
    draw();
  });
  const place = leaf(field, path, input);
  place.classList.add("union");
  place.append(kind, parts);
  draw();
  return place;
}
