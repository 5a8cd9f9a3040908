// What the service refuses, shown at the fields that it is about.

/**
 * @param {HTMLElement} root
 * @param {Record<string, string>} problems the service's messages, by the paths of fields.
 * @returns {string[]} those that have no field here.
 */
export function show(root, problems) {
  for (const place of root.querySelectorAll(".has-problem")) place.classList.remove("has-problem");
  for (const words of root.querySelectorAll(".problem")) words.replaceChildren();
  for (const input of root.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  const homeless = [];
  for (const [path, message] of Object.entries(problems)) {
    const place = placeOf(root, path);
    if (place) mark(root, place, path, message);
    else homeless.push(path === "body" ? message : `${path}: ${message}`);
  }
  return homeless;
}

/** Go to the first field with a problem. */
export function focusFirst(root) {
  const place = root.querySelector(".has-problem");
  (place?.querySelector("[aria-invalid]") ?? place?.querySelector("input, select, summary"))?.focus();
}

// A field that is not shown, or is missing, is told at what it lies in.
function placeOf(root, path) {
  for (let at = path; at; at = at.replace(/(\.?[^.[\]]+|\[\d+\])$/, "")) {
    const place = root.querySelector(`[data-field="${CSS.escape(at)}"]`);
    if (place) return place;
  }
  return null;
}

function mark(root, place, path, message) {
  const at = place.dataset.field;
  const rest = path.slice(at.length).replace(/^\./, "");
  const words = document.getElementById(`problem-${at}`);
  const line = document.createElement("span");
  line.textContent = rest && !rest.startsWith("[") ? `${rest}: ${message}` : message;
  words.append(line);
  place.classList.add("has-problem");
  const exact = root.querySelectorAll(`[data-of="${CSS.escape(path)}"]`);
  for (const input of exact.length ? exact : root.querySelectorAll(`[data-of="${CSS.escape(at)}"]`)) input.setAttribute("aria-invalid", "true");
  for (let around = words.closest("details"); around; around = around.parentElement.closest("details")) around.open = true;
}
