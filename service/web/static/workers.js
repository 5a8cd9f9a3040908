// The workers: also brought up to date when no experiment changes, because workers beat.

import { follow } from "./live.js";
import { refresh } from "./refresh.js";

const PAUSE_MS = 3000;

async function look() {
  try {
    if (!document.hidden) await refresh();
  } catch {
    // The service is away: perhaps the next time.
  }
  setTimeout(look, PAUSE_MS);
}

setTimeout(look, PAUSE_MS);
follow();
