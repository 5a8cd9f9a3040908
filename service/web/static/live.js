// A page that follows what happens to all experiments, through the service's event stream.

import { refresh } from "./refresh.js";

// A page that changes faster than this cannot be read.
const PAUSE_MS = 1000;

/** Keep the page up to date as long as it is looked at. */
export function follow() {
  let stream = null;
  let due = null;

  const update = () => {
    due ??= setTimeout(async () => {
      try {
        await refresh();
      } catch {
        // The service is away: the stream connects again, and then the page is brought up to date.
      }
      due = null;
    }, PAUSE_MS);
  };

  const open = () => {
    stream = new EventSource("/v1/events");
    stream.addEventListener("changed", update);
    stream.addEventListener("progress", (event) => show(JSON.parse(event.data)));
  };

  // Browsers give a server six connections for all tabs together: one that nobody looks at needs none.
  const look = () => {
    if (document.hidden) {
      stream?.close();
      stream = null;
    } else if (!stream) open();
  };
  document.addEventListener("visibilitychange", look);
  look();
}

function show({ id, epoch, epochs, fraction }) {
  for (const bar of document.querySelectorAll(`[data-progress="${id}"]`)) bar.value = fraction;
  for (const words of document.querySelectorAll(`[data-epochs="${id}"]`)) words.textContent = `${epoch}/${epochs}`;
}
