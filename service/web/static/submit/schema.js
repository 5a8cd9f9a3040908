// A JSON schema as Pydantic writes it, read in the terms that a form needs.

/**
 * @typedef {object} Field
 * @property {"number"|"boolean"|"choice"|"text"|"constant"|"pair"|"words"|"list"|"object"|"union"} kind
 * @property {string} name
 * @property {string} title
 * @property {string} [about] its description.
 * @property {boolean} isNullable
 * @property {*} [default] undefined where it must be given.
 * @property {Field[]} [fields] an object's, a pair's.
 * @property {string} [tag] the field that tells a union's variants apart.
 * @property {Map<string, Field>} [variants] a union's, by their tag.
 * @property {Field} [item] what a list is of.
 */

/** @returns {Field} the document's. */
export function read(document) {
  const follow = (schema) => (schema.$ref ? { ...document.$defs[schema.$ref.split("/").at(-1)], ...schema } : schema);

  function field(schema, name) {
    const isNullable = schema.anyOf?.some(({ type }) => type === "null") ?? false;
    const inner = follow(isNullable ? schema.anyOf.find(({ type }) => type !== "null") : schema);
    const about = schema.description ?? inner.description;
    return { name, title: titleOf(name), about, isNullable, default: schema.default, ...kindOf(inner) };
  }

  function kindOf(schema) {
    if ("const" in schema) return { kind: "constant", value: schema.const };
    if (schema.oneOf) {
      const tag = schema.discriminator.propertyName;
      const variants = schema.oneOf.map(follow).map((variant) => [variant.properties[tag].const, field(variant, "")]);
      return { kind: "union", tag, variants: new Map(variants) };
    }
    if (schema.enum) return { kind: "choice", options: schema.enum };
    switch (schema.type) {
      case "object":
        return { kind: "object", fields: Object.entries(schema.properties).map(([name, part]) => field(part, name)) };
      case "array":
        if (schema.prefixItems) return { kind: "pair", fields: schema.prefixItems.map((part) => field(part, "")) };
        if (follow(schema.items).type === "string") return { kind: "words" };
        return { kind: "list", item: field(schema.items, "") };
      case "integer":
      case "number": {
        const [min, max] = [schema.minimum ?? schema.exclusiveMinimum, schema.maximum ?? schema.exclusiveMaximum];
        return { kind: "number", isInteger: schema.type === "integer", min, max };
      }
      case "boolean":
        return { kind: "boolean" };
      default:
        return { kind: "text" };
    }
  }

  return field(document, "");
}

/** The value that a field has where nothing is said. `starts` has some for fields that must be given. */
export function blank(field, starts) {
  if (field.default !== undefined) return complete(field, structuredClone(field.default), starts);
  return field.isNullable ? null : begun(field, starts);
}

/** A first value of a field, also of one that may be null. */
export function begun(field, starts) {
  switch (field.kind) {
    case "constant":
      return field.value;
    case "number":
      return starts[field.name] ?? field.min ?? 0;
    case "boolean":
      return false;
    case "choice":
      return starts[field.name] ?? field.options[0];
    case "text":
      return "";
    case "words":
    case "list":
      return [];
    case "pair":
      return field.fields.map((part) => blank(part, starts));
    case "object":
      return Object.fromEntries(field.fields.map((part) => [part.name, blank(part, starts)]));
    case "union":
      return begun(field.variants.values().next().value, starts);
  }
}

/** A value with what it leaves out: specs that were stored by an earlier version may have fewer fields. */
export function complete(field, value, starts) {
  if (value === undefined) return blank(field, starts);
  if (value === null) return null;
  if (field.kind === "union") return complete(variantOf(field, value), value, starts);
  if (field.kind === "list") return value.map((item) => complete(field.item, item, starts));
  if (field.kind !== "object") return value;
  return Object.fromEntries(field.fields.map((part) => [part.name, complete(part, value[part.name], starts)]));
}

export function variantOf(field, value) {
  return field.variants.get(value[field.tag]);
}

function titleOf(name) {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
