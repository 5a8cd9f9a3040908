// What draws on the canvas: mouse, finger and pen, and the keyboard.

import { SIDE } from "./strokes.js";

const STEP = 10;
const SMALL_STEP = 2.5;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * Let the canvas be drawn on with pointers, one at a time.
 *
 * @param {import("./canvas.js").Canvas} canvas
 * @param {() => number} width of the brush.
 */
export function drawWithPointers(canvas, width) {
  const { element } = canvas;
  let drawing = null;

  const point = (event) => {
    const { left, top, width: side } = element.getBoundingClientRect();
    const scale = SIDE / side;
    return { x: (event.clientX - left) * scale, y: (event.clientY - top) * scale, width: width() * strength(event) };
  };
  element.addEventListener("pointerdown", (event) => {
    if (drawing !== null || event.button !== 0) return;
    drawing = event.pointerId;
    element.setPointerCapture(drawing);
    canvas.cursor = null;
    canvas.begin(point(event));
  });
  element.addEventListener("pointermove", (event) => {
    // Undo can end a stroke while its pen is still down.
    if (event.pointerId !== drawing || !canvas.isDrawing) return;
    // A browser tells of movements once a frame, but a pen moves more often.
    const all = event.getCoalescedEvents();
    canvas.extend((all.length ? all : [event]).map(point));
  });
  for (const name of ["pointerup", "pointercancel"]) {
    element.addEventListener(name, (event) => {
      if (event.pointerId !== drawing) return;
      drawing = null;
      if (canvas.isDrawing) canvas.end();
    });
  }
}

// Only a pen's pressure says anything: a mouse's is a constant, a finger's mostly, too.
function strength(event) {
  return event.pointerType === "pen" ? 0.4 + 1.2 * event.pressure : 1;
}

/** Let the canvas be drawn on with the arrow keys, while it has the focus. */
export function drawWithKeys(canvas, width) {
  const { element } = canvas;
  let place = { x: SIDE / 2, y: SIDE / 4 };

  const stand = () => {
    canvas.cursor = { ...place, width: width() };
    canvas.repaint();
  };
  element.addEventListener("focus", () => {
    if (element.matches(":focus-visible")) stand();
  });
  element.addEventListener("blur", () => {
    if (canvas.cursor && canvas.isDrawing) canvas.end();
    canvas.cursor = null;
    canvas.repaint();
  });
  element.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " ") lowerOrLift();
    else if (event.key in ARROWS) move(ARROWS[event.key], event.shiftKey ? SMALL_STEP : STEP);
    else return;
    event.preventDefault();
    stand();
  });

  function lowerOrLift() {
    if (canvas.isDrawing) canvas.end();
    else canvas.begin({ ...place, width: width() });
  }

  function move([right, down], step) {
    const within = (value) => Math.min(Math.max(value, 0), SIDE);
    place = { x: within(place.x + right * step), y: within(place.y + down * step) };
    if (canvas.isDrawing) canvas.extend([{ ...place, width: width() }]);
  }
}
