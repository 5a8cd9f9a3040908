// The canvas: it holds the strokes, or the picture that was put there instead, and what was there before.

import { colour, onScheme } from "../charts.js";
import { SIDE, paint } from "./strokes.js";

const MOST_STEPS = 200;
const NOTHING = { strokes: [], file: null };

export class Canvas {
  #element;
  #changed;
  #content = NOTHING;
  #past = [];
  #stroke = null;
  #due = false;

  /**
   * @param {HTMLCanvasElement} element
   * @param {(isFinished: boolean) => void} changed called with false as long as a stroke goes on.
   */
  constructor(element, changed) {
    this.#element = element;
    this.#changed = changed;
    new ResizeObserver(() => this.repaint()).observe(element);
    onScheme(() => this.repaint());
  }

  /** Where a keyboard's pen stands, to be shown; null where none is. */
  cursor = null;

  get element() {
    return this.#element;
  }

  get content() {
    return this.#content;
  }

  get isEmpty() {
    return !this.#content.file && this.#content.strokes.length === 0;
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  get isDrawing() {
    return this.#stroke !== null;
  }

  begin(point) {
    this.#stroke = [point];
    this.#become({ strokes: [...this.#content.strokes, this.#stroke], file: null }, false);
  }

  extend(points) {
    this.#stroke.push(...points);
    this.repaint();
    this.#changed(false);
  }

  end() {
    this.#stroke = null;
    this.#changed(true);
  }

  /** Show strokes or a picture instead of what is there. */
  put(content) {
    this.#stroke = null;
    this.#become({ ...NOTHING, ...content }, true);
  }

  clear() {
    if (!this.isEmpty) this.put(NOTHING);
  }

  undo() {
    if (!this.canUndo) return;
    this.#stroke = null;
    this.#content = this.#past.pop();
    this.repaint();
    this.#changed(true);
  }

  /** Paint what there is, once for all that happens before the next frame. */
  repaint() {
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => {
      this.#due = false;
      this.#paint();
    });
  }

  #become(content, isFinished) {
    this.#past.push(this.#content);
    if (this.#past.length > MOST_STEPS) this.#past.shift();
    this.#content = content;
    this.repaint();
    this.#changed(isFinished);
  }

  #paint() {
    const side = Math.round(this.#element.clientWidth * devicePixelRatio);
    // Setting a size, even the same one, also clears the canvas.
    this.#element.width = this.#element.height = side;
    const context = this.#element.getContext("2d");
    context.scale(side / SIDE, side / SIDE);
    paint(context, this.#content.strokes, colour("--ink"));
    if (this.cursor) this.#paintCursor(context);
  }

  #paintCursor(context) {
    context.lineWidth = 2;
    context.strokeStyle = colour("--accent");
    context.beginPath();
    context.arc(this.cursor.x, this.cursor.y, this.cursor.width / 2 + 3, 0, 2 * Math.PI);
    context.stroke();
  }
}
