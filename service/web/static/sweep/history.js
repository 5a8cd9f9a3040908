// How the best value of a sweep came about: every trial's, and the best until then.

import { colour, plot, wholeSteps } from "../charts.js";

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
  plot(place, `The best ${objective} by trial, of ${points.length} trials`, traces, {
    margin: { l: 52, r: 12, t: 8, b: 40 },
    xaxis: { title: { text: "trial", standoff: 4 }, tickformat: "d", dtick: wholeSteps(trials) },
    yaxis: { title: { text: objective, standoff: 8 }, automargin: true },
    showlegend: false,
  });
}
