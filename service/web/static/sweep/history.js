// How the best value of a sweep came about: every trial's, and the best until then.

/* global Plotly */

import { colour } from "../charts.js";

/**
 * @param {HTMLElement} place
 * @param {{trial: number, value: number, best: number}[]} points
 * @param {string} objective its name
 */
export function drawHistory(place, points, objective) {
  const trials = points.map((point) => point.trial);
  const words = (text) => `trial %{x}<br>${text} %{y:.4~f}<extra></extra>`;
  const traces = [
    { x: trials, y: points.map((point) => point.best), mode: "lines", line: { shape: "hv", color: colour("--line-0"), width: 2 }, hovertemplate: words("best so far") },
    { x: trials, y: points.map((point) => point.value), mode: "markers", marker: { color: colour("--line-1"), size: 6 }, hovertemplate: words(objective) },
  ];
  const axis = { gridcolor: colour("--rule"), zeroline: false, linecolor: colour("--rule"), tickfont: { size: 12 } };
  const layout = {
    margin: { l: 52, r: 12, t: 8, b: 40 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    modebar: { bgcolor: "transparent", color: colour("--soft") },
    font: { color: colour("--soft"), size: 12, family: "system-ui, sans-serif" },
    xaxis: { ...axis, title: { text: "trial", standoff: 4 }, tickformat: "d", dtick: points.length && Math.max(...trials) <= 12 ? 1 : undefined },
    yaxis: { ...axis, title: { text: objective, standoff: 8 }, automargin: true },
    hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--rule"), font: { color: colour("--ink") } },
    showlegend: false,
    uirevision: "kept",
  };
  place.setAttribute("role", "figure");
  place.setAttribute("aria-label", `The best ${objective} by trial, of ${points.length} trials`);
  Plotly.react(place, traces, layout, { responsive: true, displaylogo: false, displayModeBar: "hover", modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] });
}
