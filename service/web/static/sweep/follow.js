// What the pages on sweeps have in common: they follow what happens, also to the sweep itself.

import { follow } from "../live.js";
import { refresh } from "../refresh.js";

// The event stream tells of experiments; that a sweep has ended without any of them moving, only looking tells.
const LOOK_MS = 5000;

async function look() {
  if (document.hidden || !document.querySelector("[data-running]")) return;
  try {
    await refresh();
  } catch {
    // The service is away; the next look may find it again.
  }
}

setInterval(look, LOOK_MS);
follow();
