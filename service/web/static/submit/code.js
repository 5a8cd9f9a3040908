// A request as code to take along.

const WIDTH = 100;

/** JSON for readers: what fits on a line is one line. `words` is how null, true and false are written. */
export function written(value, words = {}, indent = "") {
  if (typeof value !== "object" || value === null) return words[String(value)] ?? JSON.stringify(value);
  const isList = Array.isArray(value);
  const deeper = `${indent}  `;
  const parts = (inner) =>
    isList
      ? value.map((item) => written(item, words, inner))
      : Object.entries(value).map(([name, item]) => `${JSON.stringify(name)}: ${written(item, words, inner)}`);
  const [open, close] = isList ? "[]" : "{}";
  const line = open + parts("").join(", ") + close;
  if (line.length + indent.length <= WIDTH && !line.includes("\n")) return line;
  return `${open}\n${parts(deeper).map((part) => deeper + part).join(",\n")}\n${indent}${close}`;
}

export function curl(address, request) {
  return `curl -X POST ${quoted(address)} \\\n  -H 'Content-Type: application/json' \\\n  -d ${quoted(written(request))}`;
}

export function python(address, request) {
  // A JSON text is a Python text, too.
  const spec = written(request, { null: "None", true: "True", false: "False" });
  return `import httpx\n\nspec = ${spec}\nanswer = httpx.post(${JSON.stringify(address)}, json=spec)\nanswer.raise_for_status()\nprint(answer.json()["id"])`;
}

// Within single quotes a shell takes everything as it is, but a single quote.
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
