// Elements, made from what they are to have.

/** @param {Record<string, string>} attributes @param {(Node|string)[]} content */
export function element(name, attributes, ...content) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...content);
  return made;
}

/** A description; what stands between backticks is code. */
export function prose(text) {
  return (text ?? "").split("`").map((part, index) => (index % 2 ? element("code", {}, part) : part));
}
