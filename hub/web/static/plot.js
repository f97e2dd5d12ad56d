// Small plots as SVG: one or two series of [seconds before now, value], drawn to the width they get.
import { draw } from "/static/hub.js";

const WIDTH = 900;

// series: up to two; from: seconds at the left edge (negative); isBare: without numbers at the sides.
export function plot({ series, from, height, unit = "", label, isBare = false }) {
  const [left, bottom] = isBare ? [0, 2] : [40, 20];
  const width = isBare ? 300 : WIDTH;
  const most = nice(Math.max(1, ...series.flat().map(([, value]) => value)));
  const x = (at) => left + (width - left) * (1 - Math.min(at, 0) / from);
  const y = (value) => 4 + (height - 4 - bottom) * (1 - value / most);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, class: "plot", role: "img", "aria-label": label });
  if (isBare) svg.setAttribute("preserveAspectRatio", "none");
  const lines = isBare ? [0] : [0, most / 2, most];
  for (const value of lines) {
    svg.append(draw("line", { class: "axis", x1: left, x2: width, y1: y(value), y2: y(value) }));
    if (!isBare) svg.append(words(left - 8, y(value) + 4, "end", `${round(value)}${unit}`));
  }
  if (!isBare) {
    for (const part of [0, 0.5, 1]) {
      const seconds = Math.round(from * (1 - part));
      svg.append(words(left + (width - left) * part, height - 4, part === 0 ? "start" : part === 1 ? "end" : "middle", part === 1 ? "now" : `${seconds / 60} min`));
    }
  }
  series.forEach((points, place) => {
    const seen = points.filter(([at]) => at >= from);
    if (seen.length < 2) return;
    const path = seen.map(([at, value], i) => `${i ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join("");
    if (!place) svg.append(draw("path", { class: "area", d: `${path}L${x(seen[seen.length - 1][0]).toFixed(1)} ${y(0)}L${x(seen[0][0]).toFixed(1)} ${y(0)}Z` }));
    svg.append(draw("path", { class: place ? "line second" : "line", d: path }));
  });
  return svg;
}

function words(x, y, anchor, text) {
  return draw("text", { x, y, "text-anchor": anchor }, text);
}

const round = (value) => (value >= 10 ? String(Math.round(value)) : String(Math.round(value * 10) / 10));

// The next 1, 2 or 5 times a power of ten.
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((step) => step * power >= value) * power;
}
