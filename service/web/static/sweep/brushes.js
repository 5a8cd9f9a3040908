// Which trials are chosen: on each axis a part of it, or all. Apart from how that is drawn or asked for.

/** @typedef {{low: number, high: number} | Set<number>} Brush a range of an axis's numbers, or places of its categories */

export class Brushes {
  constructor() {
    /** @type {Map<string, Brush>} by the axes' keys */
    this.byAxis = new Map();
  }

  get(key) {
    return this.byAxis.get(key) ?? null;
  }

  /** Choose a part of an axis; null chooses all of it. */
  set(key, brush) {
    if (brush) this.byAxis.set(key, brush);
    else this.byAxis.delete(key);
  }

  clear() {
    this.byAxis.clear();
  }

  get areNone() {
    return this.byAxis.size === 0;
  }

  /** Whether a line lies in all of the parts; without a value on an axis it lies in no part of it. */
  choose(axes, line) {
    return axes.every(({ key }, index) => {
      const brush = this.get(key);
      const value = line.values[index];
      if (!brush) return true;
      if (value === null) return false;
      return brush instanceof Set ? brush.has(value) : brush.low <= value && value <= brush.high;
    });
  }
}
