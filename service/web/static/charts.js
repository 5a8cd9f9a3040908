// Line charts, drawn by Plotly in the page's colours.

/* global Plotly */

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

/**
 * Lines over epochs; where they are smoothed, what was measured stays visible behind them.
 *
 * @param {HTMLElement} place
 * @param {{name: string, colour: string, dash?: "solid"|"dot", x: number[], y: (number|null)[], about?: string}[]} lines
 * @param {{title: string, log?: boolean, smoothing?: number, percent?: boolean}} options
 */
export function drawLines(place, lines, { title, log = false, smoothing = 0, percent = false }) {
  const traces = [];
  for (const line of lines) {
    const about = line.about ? `<br>${escaped(line.about)}` : "";
    const template = `%{y:${percent ? ".2%" : ".4f"}}<extra>${escaped(line.name)}${about}</extra>`;
    const style = { color: line.colour, dash: line.dash ?? "solid", width: 2 };
    const mode = line.x.length > 1 ? "lines" : "lines+markers";
    if (smoothing > 0) {
      const behind = { ...style, width: 1.2 };
      traces.push({ x: line.x, y: line.y, mode, line: behind, opacity: 0.3, hoverinfo: "skip", showlegend: false });
    }
    const y = smoothed(line.y, smoothing);
    traces.push({ x: line.x, y, mode, name: escaped(line.name), line: style, hovertemplate: template, connectgaps: false });
  }
  const epochs = Math.max(...lines.flatMap((line) => line.x));
  const axis = { gridcolor: colour("--rule"), zeroline: false, linecolor: colour("--rule") };
  const layout = {
    margin: { l: 52, r: 12, t: 8, b: 36 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("--soft"), size: 12, family: "system-ui, sans-serif" },
    xaxis: { ...axis, title: { text: "epoch", standoff: 4 }, dtick: epochs <= 12 ? 1 : undefined, tickformat: "d", rangemode: "tozero" },
    yaxis: { ...axis, type: log ? "log" : "linear", tickformat: percent ? ".0%" : undefined, hoverformat: percent ? ".2%" : undefined },
    hovermode: lines.length > 8 ? "closest" : "x unified",
    hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--rule"), font: { color: colour("--ink") } },
    legend: { orientation: "h", y: 1.12, x: 0 },
    showlegend: lines.length > 1 && lines.length <= 8,
    // Zoom and hidden lines stay as they are when points come.
    uirevision: "kept",
  };
  place.setAttribute("role", "figure");
  place.setAttribute("aria-label", title);
  return Plotly.react(place, traces, layout, { responsive: true, displaylogo: false, displayModeBar: "hover", modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] });
}

/** Draw again when the system changes between light and dark. */
export function onScheme(draw) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

// Plotly shows some markup in names.
function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
