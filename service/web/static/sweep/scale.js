// Where a value lies on an axis, from 0 at its lower end to 1, and which values are written beside it.

const MOST_MARKS = 8;

export function position(axis, value) {
  if (axis.kind === "category") return axis.categories.length > 1 ? value / (axis.categories.length - 1) : 0.5;
  const [low, high, at] = axis.kind === "log" ? [axis.low, axis.high, value].map(Math.log) : [axis.low, axis.high, value];
  return high > low ? (at - low) / (high - low) : 0.5;
}

/** The value at a place of an axis of numbers; exactly its ends at 0 and 1. */
export function valueAt(axis, place) {
  if (place <= 0) return axis.low;
  if (place >= 1) return axis.high;
  if (axis.kind === "log") return Math.exp(Math.log(axis.low) + place * (Math.log(axis.high) - Math.log(axis.low)));
  return axis.low + place * (axis.high - axis.low);
}

/** The ends first: they say most where there is no room for all. @returns {{value: number, text: string}[]} */
export function marks(axis) {
  if (axis.kind === "category") return axis.categories.map((text, value) => ({ value, text: shortened(text, 18) }));
  return numbers(axis).map((value) => ({ value, text: written(value) }));
}

/** A number in at most four digits. */
export function written(value) {
  return String(Number(value.toPrecision(4)));
}

/** The end of a path says most about it. */
export function shortenedPath(text, most = 28) {
  return text.length > most ? `…${text.slice(1 - most)}` : text;
}

export function shortened(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

function numbers(axis) {
  if (axis.marks.length && axis.marks.length <= MOST_MARKS) return axis.marks;
  if (axis.low === axis.high) return [axis.low];
  const inside = axis.kind === "log" ? decades(axis) : steps(axis);
  return [...new Set([axis.low, axis.high, ...inside])];
}

function steps({ low, high }) {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let count = Math.ceil(low / step); count * step <= high; count++) found.push(count * step);
  return found;
}

function decades({ low, high }) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++)
    for (const factor of [1, 2, 5]) found.push(factor * 10 ** power);
  const inside = found.filter((value) => low <= value && value <= high);
  return inside.length <= MOST_MARKS ? inside : inside.filter((value) => Math.abs(Math.log10(value) % 1) < 1e-9);
}
