// Parallel coordinates: an axis for each parameter and outcome, a line across them for each trial. A part of an axis is
// chosen by dragging along it. Drawn as SVG: Plotly's own need WebGL, and scripts that write scripts.

import { marks, position, shortenedPath, valueAt } from "./scale.js";

const HEIGHT = 340;
const TOP = 44;
const BOTTOM = 22;
const LEAST_SIDE = 52;
const LEAST_GAP = 120;
const LETTER = 7.2;
const HALF_HIT = 14;
const LEAST_DRAG = 4;
const LEAST_APART = 16;
const NEAR = 9;
const STEPS = 8;

export class Parallel {
  /**
   * @param {HTMLElement} place
   * @param {{brush: (axis: object, brush: import("./brushes.js").Brush | null) => void, point: (trial: number | null) => void,
   *   pick: (trial: number) => void}} tell who is told of what is chosen, pointed at, and clicked
   */
  constructor(place, tell) {
    this.place = place;
    this.tell = tell;
    this.axes = [];
    this.lines = [];
    this.isDragged = false;
    this.svg = made("svg", { class: "parallel", role: "img" });
    this.svg.addEventListener("pointermove", (event) => this.tell.point(this.nearest(event)));
    this.svg.addEventListener("pointerleave", () => this.tell.point(null));
    this.svg.addEventListener("click", (event) => {
      const trial = event.target.closest(".hit") ? null : this.nearest(event);
      if (trial !== null) this.tell.pick(trial);
    });
    place.append(this.svg);
  }

  /** Draw all of it; what is being dragged would be lost, so that comes first. */
  draw(axes, lines, brushes) {
    this.waiting = this.isDragged ? [axes, lines, brushes] : null;
    if (this.isDragged) return;
    this.axes = axes;
    this.lines = lines;
    const room = axes.map(({ title }) => shortenedPath(title).length * LETTER + 12);
    const [left, right] = [room[0], room.at(-1)].map((wide) => Math.max(LEAST_SIDE, wide / 2));
    const gaps = axes.length - 1;
    const gap = Math.max(LEAST_GAP, ...room.slice(1).map((wide, index) => (wide + room[index]) / 2));
    const width = Math.max(this.place.parentElement.clientWidth, left + right + gaps * gap);
    this.xs = axes.map((_, index) => left + (index * (width - left - right)) / gaps);
    for (const [name, value] of Object.entries({ width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}` })) this.svg.setAttribute(name, value);
    this.svg.setAttribute("aria-label", `Parallel coordinates of ${lines.length} trials over ${axes.map(({ title }) => title).join(", ")}`);

    this.paths = new Map(lines.map((line) => [line.number, made("path", { d: this.course(line) })]));
    this.left = made("g");
    this.taken = made("g");
    this.lit = made("path", { class: "lit" });
    this.brushed = axes.map(() => made("g"));
    this.svg.replaceChildren(this.left, this.taken, this.lit, ...axes.map((axis, index) => this.axis(axis, index)));
    this.choose(brushes);
  }

  /** Show which trials are chosen. */
  choose(brushes) {
    this.chosen = new Set();
    const drawn = { left: [], taken: [] };
    // The best are drawn last, above the others; and all that are chosen above those that are not.
    for (const line of this.lines.toReversed()) {
      const isChosen = brushes.choose(this.axes, line);
      if (isChosen) this.chosen.add(line.number);
      const rank = line.rank === null ? "unranked" : `r${Math.round(line.rank * (STEPS - 1))}`;
      const path = this.paths.get(line.number);
      path.setAttribute("class", isChosen ? `line ${rank}` : "line out");
      drawn[isChosen ? "taken" : "left"].push(path);
    }
    this.left.replaceChildren(...drawn.left);
    this.taken.replaceChildren(...drawn.taken);
    this.axes.forEach((axis, index) => this.showBrush(axis, index, brushes.get(axis.key)));
  }

  /** Let a trial's line stand out; none with null. */
  light(trial) {
    this.lit.setAttribute("d", this.paths.get(trial)?.getAttribute("d") ?? "");
  }

  course(line) {
    let pen = "M";
    return this.axes.map((axis, index) => {
      const value = line.values[index];
      const step = value === null ? "" : `${pen}${this.xs[index]} ${heightOf(axis, value)}`;
      pen = value === null ? "M" : "L";
      return step;
    }).join("");
  }

  axis(axis, index) {
    const x = this.xs[index];
    const group = made("g");
    const title = made("text", { class: "title", x, y: 16 }, shortenedPath(axis.title));
    title.append(made("title", {}, axis.title));
    const hit = made("rect", { class: "hit", x: x - HALF_HIT, y: TOP - 12, width: 2 * HALF_HIT, height: HEIGHT - TOP - BOTTOM + 24, "data-axis": axis.key });
    this.followDrag(hit, axis);
    group.append(made("line", { class: "rule", x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }), title, ...this.marks(axis, x), this.brushed[index], hit);
    return group;
  }

  marks(axis, x) {
    const isLast = x === this.xs.at(-1);
    const place = isLast ? { x: x - 8, "text-anchor": "end" } : { x: x + 8 };
    const taken = [];
    return marks(axis).flatMap(({ value, text }) => {
      const y = heightOf(axis, value);
      if (taken.some((other) => Math.abs(other - y) < LEAST_APART)) return [];
      taken.push(y);
      return [made("text", { ...place, y: y + 4 }, text)];
    });
  }

  showBrush(axis, index, brush) {
    const x = this.xs[index] - 7;
    const span = (from, to) => made("rect", { class: "brush", x, y: to, width: 14, height: Math.max(from - to, 2), rx: 3 });
    const clamped = (value) => heightOf(axis, Math.min(Math.max(value, axis.low), axis.high));
    if (!brush) this.brushed[index].replaceChildren();
    else if (brush instanceof Set) this.brushed[index].replaceChildren(...[...brush].map((place) => span(heightOf(axis, place) + 8, heightOf(axis, place) - 8)));
    else this.brushed[index].replaceChildren(span(clamped(brush.low), clamped(brush.high)));
  }

  /** Mouse, pen or finger on an axis: a drag chooses a part of it, a click all. */
  followDrag(hit, axis) {
    let from = null;
    let isDrag = false;
    hit.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      hit.setPointerCapture(event.pointerId);
      from = this.within(event).y;
      isDrag = false;
      this.isDragged = true;
      event.preventDefault();
    });
    hit.addEventListener("pointermove", (event) => {
      if (from === null) return;
      const { y } = this.within(event);
      isDrag ||= Math.abs(y - from) >= LEAST_DRAG;
      if (isDrag) this.tell.brush(axis, brushBetween(axis, shareOf(from), shareOf(y)));
      event.stopPropagation();
    });
    const end = () => {
      from = null;
      this.isDragged = false;
      if (this.waiting) this.draw(...this.waiting);
    };
    hit.addEventListener("pointerup", () => {
      if (from !== null && !isDrag) this.tell.brush(axis, null);
      end();
    });
    hit.addEventListener("pointercancel", end);
  }

  /** The chosen trial whose line is at the pointer, or null. */
  nearest(event) {
    const { x, y } = this.within(event);
    const left = Math.max(this.xs.findLastIndex((place) => place <= x), 0);
    const right = Math.min(left + 1, this.xs.length - 1);
    const share = right > left ? (x - this.xs[left]) / (this.xs[right] - this.xs[left]) : 0;
    let found = null;
    let least = NEAR;
    for (const line of this.lines) {
      const [from, to] = [line.values[left], line.values[right]];
      if (from === null || to === null || share < 0 || share > 1 || !this.chosen.has(line.number)) continue;
      const height = heightOf(this.axes[left], from) * (1 - share) + heightOf(this.axes[right], to) * share;
      if (Math.abs(height - y) < least) {
        least = Math.abs(height - y);
        found = line.number;
      }
    }
    return found;
  }

  within(event) {
    const box = this.svg.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }
}

function brushBetween(axis, one, other) {
  const [low, high] = [Math.max(Math.min(one, other), 0), Math.min(Math.max(one, other), 1)];
  if (axis.kind !== "category") return { low: valueAt(axis, low), high: valueAt(axis, high) };
  const places = axis.categories.map((_, place) => place);
  const inside = places.filter((place) => low <= position(axis, place) && position(axis, place) <= high);
  const distance = (place) => Math.abs(position(axis, place) - (low + high) / 2);
  return new Set(inside.length ? inside : [places.reduce((best, place) => (distance(place) < distance(best) ? place : best))]);
}

function heightOf(axis, value) {
  return HEIGHT - BOTTOM - position(axis, value) * (HEIGHT - TOP - BOTTOM);
}

function shareOf(y) {
  return (HEIGHT - BOTTOM - y) / (HEIGHT - TOP - BOTTOM);
}

function made(name, attributes = {}, text = null) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== null) element.textContent = text;
  return element;
}
