// Line charts, drawn by Plotly in the page's colours.

/* global Plotly */

const BEHIND = 0.3;
const FADED = 0.12;

/** A colour of the style sheet. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export function lineColour(index) {
  return colour(`--line-${index % 8}`);
}

/** The exponential moving average, in TensorBoard's way: corrected for its start, 0 leaves the values as they are. */
export function smoothed(values, weight) {
  let last = 0;
  let count = 0;
  return values.map((value) => {
    if (value === null || value === undefined || !Number.isFinite(value)) return null;
    last = last * weight + value * (1 - weight);
    count += 1;
    return weight === 0 ? value : last / (1 - weight ** count);
  });
}

/** Draw, or draw anew, in the page's colours; `layout` is Plotly's, as far as it is this chart's own. */
export function plot(place, title, traces, { xaxis, yaxis, ...layout }) {
  const axis = { gridcolor: colour("--rule"), zeroline: false, linecolor: colour("--rule") };
  const shared = {
    margin: { l: 52, r: 12, t: 8, b: 36 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("--soft"), size: 12, family: "system-ui, sans-serif" },
    hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--rule"), font: { color: colour("--ink") }, align: "left" },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--soft"), activecolor: colour("--accent") },
    // Zoom and hidden lines stay as they are when points come.
    uirevision: "kept",
  };
  place.setAttribute("role", "figure");
  place.setAttribute("aria-label", title);
  const options = { responsive: true, displaylogo: false, displayModeBar: "hover", modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
  Plotly.react(place, traces, { ...shared, ...layout, xaxis: { ...axis, ...xaxis }, yaxis: { ...axis, ...yaxis } }, options);
}

/** The distance of an axis's ticks, so that a short one has no halves. */
export function wholeSteps(values) {
  return values.length && Math.max(...values) <= 12 ? 1 : undefined;
}

/**
 * Lines over epochs; where they are smoothed, what was measured stays visible behind them.
 *
 * @param {HTMLElement} place
 * @param {{name: string, colour: string, dash?: "solid"|"dot", x: number[], y: (number|null)[], about?: string[]}[]} lines
 *   a line with `about` tells that when it is pointed at; otherwise all lines tell their figures together.
 * @param {{title: string, log?: boolean, smoothing?: number, percent?: boolean, legend?: boolean}} options
 * @returns {number[]} for each trace that was drawn the place of its line among `lines`.
 */
export function drawLines(place, lines, { title, log = false, smoothing = 0, percent = false, legend = lines.length > 1 }) {
  const figure = percent ? "%{y:.2%}" : "%{y:.4f}";
  const traces = [];
  const owners = [];
  for (const [owner, line] of lines.entries()) {
    const style = { color: line.colour, dash: line.dash ?? "solid", width: 2 };
    const mode = line.x.length > 1 ? "lines" : "lines+markers";
    if (smoothing > 0) {
      const behind = { ...style, width: 1.2 };
      traces.push({ x: line.x, y: line.y, mode, line: behind, opacity: BEHIND, hoverinfo: "skip", showlegend: false });
      owners.push(owner);
    }
    const hovertemplate = line.about
      ? [`<b>${escaped(line.name)}</b>`, `epoch %{x}: ${figure}`, ...line.about.map(escaped)].join("<br>") + "<extra></extra>"
      : `${figure}<extra>${escaped(line.name)}</extra>`;
    const y = smoothed(line.y, smoothing);
    traces.push({ x: line.x, y, mode, name: escaped(line.name), line: style, opacity: 1, hovertemplate, connectgaps: false });
    owners.push(owner);
  }
  plot(place, title, traces, {
    xaxis: { title: { text: "epoch", standoff: 4 }, dtick: wholeSteps(lines.flatMap((line) => line.x)), tickformat: "d", rangemode: "tozero" },
    yaxis: { type: log ? "log" : "linear", tickformat: percent ? ".0%" : undefined, hoverformat: percent ? ".2%" : undefined },
    hovermode: lines.some((line) => line.about) ? "closest" : "x unified",
    legend: { orientation: "h", y: 1.12, x: 0 },
    showlegend: legend,
  });
  return owners;
}

/** Let the traces step back that are not chosen: `isChosen` is asked with what `drawLines` returned for each. */
export function emphasise(place, owners, isChosen) {
  const usual = place.data.map((trace) => (trace.hoverinfo === "skip" ? BEHIND : 1));
  Plotly.restyle(place, { opacity: usual.map((opacity, index) => (isChosen(owners[index]) ? opacity : FADED)) });
}

/** Draw again when the system changes between light and dark. */
export function onScheme(draw) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

// Plotly shows some markup in labels, and figures of the point for %{…}.
function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("%{", "% {");
}
