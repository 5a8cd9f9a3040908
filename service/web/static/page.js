// What every page does: buttons that ask the API, parts that are exchanged, text to copy, moments.

import { ask } from "./api.js";
import { tell } from "./messages.js";
import { refresh } from "./refresh.js";
import { tellTimes } from "./times.js";

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-path]");
  if (button) act(button);
  const copy = event.target.closest("[data-copy]");
  if (copy) take(copy);
  const link = event.target.closest("a[data-swap]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    swap(link);
  }
});

/** A button of the macro `action`. */
async function act(button) {
  const { method, path, body, confirm: question, then } = button.dataset;
  if (question && !confirm(question)) return;
  button.disabled = true;
  try {
    await ask(method, path, body === undefined ? undefined : JSON.parse(body));
    if (then) location.assign(then);
    else {
      tell(`${button.textContent.trim()}: done.`);
      await refresh();
    }
  } catch (error) {
    tell(error.message, { isError: true });
  } finally {
    button.disabled = false;
  }
}

/** A link whose page differs from this one only in the parts that are live. */
async function swap(link) {
  const target = link.dataset.swap;
  await refresh(link.href);
  document.getElementById(target)?.scrollIntoView({ block: "nearest", behavior: "smooth" });
}

// Also fired for places on the page, which are no other state of it.
let shown = location.pathname + location.search;
addEventListener("popstate", () => {
  const wanted = location.pathname + location.search;
  if (wanted !== shown) refresh();
  shown = wanted;
});
document.addEventListener("numeral:refreshed", () => (shown = location.pathname + location.search));

async function take(button) {
  const text = document.getElementById(button.dataset.copy).textContent;
  const usual = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    // Browsers have a clipboard for pages on this machine or behind HTTPS only.
    getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
    button.textContent = "Selected: press Ctrl+C";
  }
  setTimeout(() => (button.textContent = usual), 2000);
}

tellTimes();
setInterval(tellTimes, 20_000);
