// What has to be said of a spec: all but what its preset or a default says already.

import { variantOf } from "./schema.js";

/**
 * The request that comes to a spec.
 *
 * @param {import("./schema.js").Field} root
 * @param {object} spec all fields.
 * @param {string} preset its name, or an empty text.
 * @param {object} base the preset's spec.
 */
export function requestOf(root, spec, preset, base) {
  const request = preset ? { preset } : {};
  for (const field of root.fields) {
    const value = spec[field.name];
    const known = preset && field.name in base ? base[field.name] : field.default;
    if (!same(value, known)) request[field.name] = preset ? apart(field, value, known) : short(field, value);
  }
  return request;
}

export function same(one, other) {
  if (one === other) return true;
  if (!isObject(one) || !isObject(other) || Array.isArray(one) !== Array.isArray(other)) return false;
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => name in other && same(one[name], other[name]));
}

/** A value without what its defaults say. */
export function short(field, value) {
  if (!isObject(value)) return value;
  if (field.kind === "union") return { [field.tag]: value[field.tag], ...short(variantOf(field, value), value) };
  if (field.kind === "list") return value.map((item) => short(field.item, item));
  if (field.kind !== "object") return value;
  const said = field.fields.filter((part) => part.kind !== "constant" && !same(value[part.name], part.default));
  return Object.fromEntries(said.map((part) => [part.name, short(part, value[part.name])]));
}

// The service completes an object of a request from the preset's, field by field, if both are of one kind; what lies
// deeper it takes as it is.
function apart(field, value, known) {
  if (!isObject(value) || !isObject(known) || Array.isArray(value)) return short(field, value);
  if (field.kind === "union") {
    const kind = { [field.tag]: value[field.tag] };
    if (value[field.tag] !== known[field.tag]) return short(field, value);
    return { ...kind, ...apart(variantOf(field, value), value, known) };
  }
  const said = field.fields.filter((part) => !same(value[part.name], known[part.name]));
  return Object.fromEntries(said.map((part) => [part.name, short(part, value[part.name])]));
}

function isObject(value) {
  return typeof value === "object" && value !== null;
}
