// The table of experiments: follows what happens, and filters as soon as something is chosen.

import { follow } from "./live.js";
import { refresh } from "./refresh.js";

const filters = document.getElementById("filters");
const PAUSE_MS = 250;
let due = null;

// Empty fields would only make the address long.
function address() {
  const fields = new URLSearchParams();
  for (const [name, value] of new FormData(filters)) if (value && name !== "columns") fields.append(name, value);
  for (const column of new URLSearchParams(location.search).getAll("columns")) fields.append("columns", column);
  const asked = fields.toString();
  return new URL(asked ? `/?${asked}` : "/", location).href;
}

document.getElementById("find").classList.add("hidden");
filters.addEventListener("change", (event) => {
  if (event.target.name !== "columns") refresh(address());
});
filters.addEventListener("input", (event) => {
  if (event.target.name !== "q") return;
  clearTimeout(due);
  due = setTimeout(() => refresh(address()), PAUSE_MS);
});
follow();
