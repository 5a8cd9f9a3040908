// What lies over the canvas: a picture from elsewhere, and the box in which the service found the digit.

import { SIDE } from "./strokes.js";

// Smaller pictures are shown with their pixels, not blurred.
const SMALL = 100;

const preview = document.getElementById("preview");
const unseeable = document.getElementById("unseeable");
const frame = document.getElementById("box");
let shown = null;
let box = null;

preview?.addEventListener("load", () => {
  if (!shown) return;
  preview.hidden = false;
  preview.classList.toggle("small", preview.naturalWidth < SMALL);
  place();
});
preview?.addEventListener("error", () => {
  if (!shown) return;
  unseeable.hidden = false;
  place();
});

export function showFile(file) {
  if (file === shown) return;
  hideFile();
  shown = file;
  preview.alt = `The picture ${file.name}`;
  preview.src = URL.createObjectURL(file);
}

export function hideFile() {
  if (!shown) return;
  URL.revokeObjectURL(preview.src);
  preview.removeAttribute("src");
  preview.hidden = unseeable.hidden = true;
  shown = null;
}

/** Show where the digit was found, in pixels of the upright picture; null for nowhere. */
export function showBox(found) {
  box = found ?? null;
  place();
}

// The picture lies in the middle of a square, as large as it can be.
function place() {
  const [width, height] = shown ? [preview.naturalWidth, preview.naturalHeight] : [SIDE, SIDE];
  frame.hidden = !box || (shown !== null && preview.hidden);
  if (frame.hidden) return;
  const side = Math.max(width, height);
  const part = (pixels) => `${(100 * pixels) / side}%`;
  frame.style.left = part((side - width) / 2 + box.left);
  frame.style.top = part((side - height) / 2 + box.top);
  frame.style.width = part(box.width);
  frame.style.height = part(box.height);
}
