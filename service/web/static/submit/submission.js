// Submitting what a form says, once: however often it is sent, it comes to one experiment.

import { ask } from "../api.js";

let sent = { text: null, key: null };

/** @returns {Promise<object>} the experiment. Throws a Refusal. */
export async function submitOnce(address, request) {
  const text = JSON.stringify(request);
  // Another form is another experiment, and so is the same one after it has come to one.
  if (sent.text !== text) sent = { text, key: newKey() };
  const experiment = await ask("POST", address, request, { headers: { "Idempotency-Key": sent.key } });
  sent = { text: null, key: null };
  return experiment;
}

// crypto.randomUUID is there only for pages on this machine or behind HTTPS.
function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
