// The service's API, as pages ask it.

/** What the service refused, or why it could not be asked. `fields` maps the paths of refused fields to messages. */
export class Refusal extends Error {
  constructor(message, status = 0, problem = {}) {
    super(message);
    this.status = status;
    this.code = problem.code;
    this.fields = Object.fromEntries((problem.errors ?? []).map(({ field, message }) => [field, message]));
  }
}

/** Ask for something; the answer's JSON, or null where there is none. Throws a Refusal. */
export async function ask(method, path, body, { signal, headers = {} } = {}) {
  const isData = body instanceof Blob || body instanceof ArrayBuffer || ArrayBuffer.isView(body);
  const options = { method, signal, headers: { Accept: "application/json", ...headers } };
  if (body !== undefined && body !== null) {
    options.headers["Content-Type"] = isData ? body.type || "application/octet-stream" : "application/json";
    options.body = isData ? body : JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The service does not answer. Is it still running?");
  }
  const text = await response.text();
  const isJson = (response.headers.get("Content-Type") ?? "").includes("json");
  const document = isJson && text ? JSON.parse(text) : null;
  if (!response.ok) throw new Refusal(document?.detail ?? `The service answered ${response.status}.`, response.status, document ?? {});
  return document;
}
