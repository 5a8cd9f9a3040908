// The 28×28 pixels that models see, and how they were made of the picture.

const SIDE = 28;
const SIDES = { dark_on_light: "dark on light", light_on_dark: "light on dark" };

const canvas = document.getElementById("pixels");
const words = Object.fromEntries(["sent", "polarity", "found", "then"].map((id) => [id, document.getElementById(id)]));

/** Show what an explanation explains; null for nothing. */
export function showPixels(explanation) {
  const image = new ImageData(SIDE, SIDE);
  for (const [index, level] of (explanation?.pixels.flat() ?? []).entries()) {
    image.data.set([level, level, level, 255], 4 * index);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  canvas.setAttribute("aria-label", explanation ? "The picture as 28×28 pixels, light on black" : "Nothing yet: the picture as 28×28 pixels");
  const { box, polarity } = explanation ?? {};
  words.polarity.textContent = SIDES[polarity] ?? (explanation ? "none found" : "–");
  words.found.textContent = box ? `${box.width}×${box.height} pixels, ${box.left} from the left, ${box.top} from the top` : "–";
  words.then.textContent = box ? "scaled into 20×20, its centre of mass in the middle of 28×28, as MNIST's digits are" : "–";
}

/** Say what was sent. */
export function showSent(text) {
  words.sent.textContent = text;
}
