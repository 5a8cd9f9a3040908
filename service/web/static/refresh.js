// Bringing a page up to date without reloading it: the page is asked for again, and the parts of it that are marked
// `data-live` (each has an id) are replaced where they differ. So all that a page shows is rendered by one template.

import { tellTimes } from "./times.js";

let asked = 0;

/**
 * Bring the page up to date, or show another state of it.
 *
 * @param {string} address the page's; it also becomes the browser's if it differs.
 * @returns {Promise<boolean>} whether anything changed.
 */
export async function refresh(address = location.href) {
  const number = ++asked;
  const response = await fetch(address, { headers: { Accept: "text/html" } });
  const text = await response.text();
  // An answer that was overtaken by a later request is of no use.
  if (number !== asked || !response.ok) return false;
  const fresh = new DOMParser().parseFromString(text, "text/html");
  if (address !== location.href) history.pushState(null, "", address);
  let changed = false;
  for (const part of document.querySelectorAll("[data-live]")) {
    const replacement = fresh.getElementById(part.id);
    // What the server sent, not what became of it here: browsers add to what they show.
    if (!replacement || replacement.outerHTML === sent.get(part)) continue;
    replace(part, replacement);
    changed = true;
  }
  if (changed) {
    tellTimes();
    document.dispatchEvent(new CustomEvent("numeral:refreshed"));
  }
  return changed;
}

const sent = new WeakMap();
for (const part of document.querySelectorAll("[data-live]")) sent.set(part, part.outerHTML);

function replace(part, replacement) {
  const html = replacement.outerHTML;
  const focused = part.contains(document.activeElement) ? keyOf(document.activeElement) : null;
  const checked = new Set([...part.querySelectorAll("input:checked")].map(keyOf));
  const open = new Set([...part.querySelectorAll("details[open][id]")].map((item) => item.id));
  const scrolled = [...part.querySelectorAll("[id]")].filter((item) => item.scrollTop || item.scrollLeft)
    .map((item) => [item.id, item.scrollLeft, item.scrollTop]);
  const adopted = document.adoptNode(replacement);
  part.replaceWith(adopted);
  sent.set(adopted, html);
  for (const input of adopted.querySelectorAll("input[type=checkbox]")) if (checked.has(keyOf(input))) input.checked = true;
  for (const item of adopted.querySelectorAll("details[id]")) if (open.has(item.id)) item.open = true;
  for (const [id, left, top] of scrolled) document.getElementById(id)?.scrollTo(left, top);
  if (focused) [...adopted.querySelectorAll("a, button, input, select, summary, [tabindex]")].find((item) => keyOf(item) === focused)?.focus();
}

/** What an element is recognised by in the next version of its part. */
function keyOf(element) {
  return element.id || [element.tagName, element.name, element.value, element.getAttribute("href"), element.textContent?.trim()].join("|");
}
