// What an axis shows, and the ground that the limits forbid.

import { color } from "./dom.js";
import { axisUnit, least, most, show } from "./units.js";

// From the front, the original and the limit; candidates far outside are cut off, so that they don't squash the rest.
export function scaleOf(axis, { candidates, front, original, limits }) {
  const core = [...front, original].filter(Boolean).map((c) => axis.get(c)?.value).filter(Number.isFinite);
  if (!front.length) core.push(...candidates.map((c) => axis.get(c)?.value).filter(Number.isFinite));
  const limit = axis.key === "accuracy" ? limits.test_floor ?? limits.floor : limits.costs[axis.key];
  // A limit far from everything would squash it: then an arrow at the edge says where it is.
  const near = Number.isFinite(limit) && (axis.key === "accuracy" || !core.length || (limit < 6 * most(core) && limit > least(core) / 6));
  if (near) core.push(limit);
  let [low, high] = core.length ? [least(core), most(core)] : [0, 1];
  const log = axis.key !== "accuracy" && low > 0 && high / low > 12;
  if (axis.key === "accuracy") {
    const room = Math.max(high - low, 0.02 * Math.abs(high), 1e-9);
    low = Math.min(low, least(candidates.map((c) => axis.get(c)?.value).filter((v) => v >= low - 0.6 * room))) - 0.12 * room;
    high += 0.12 * room;
    if (axis.unit === "%") high = Math.min(high, 1 + 0.06 * (1 - low));
  } else {
    const inside = candidates.map((c) => axis.get(c)?.value).filter((v) => v >= low / 2 && v <= (log ? 2 : 1.3) * high);
    low = Math.min(low, least(inside));
    high = Math.max(high, most(inside));
    if (log) { const wider = (high / low) ** 0.06; low /= wider; high *= wider; } else { low = low < 0 ? low : 0; high *= 1.06; }
    if (high <= low) high = low + 1;
  }
  const [unit, factor] = axisUnit(low, high, axis.unit);
  return { log, low: low / factor, high: high / factor, unit, factor, limit: Number.isFinite(limit) ? limit / factor : null, near };
}

// Where a logarithmic axis is labelled: 1, 2, 5, 10, … or every power of ten when it is long.
export function ticks({ low, high }) {
  const steps = high / low < 1000 ? [1, 2, 5] : [1];
  const powers = Array.from({ length: Math.ceil(Math.log10(high)) - Math.floor(Math.log10(low)) + 1 }, (_, i) => i + Math.floor(Math.log10(low)));
  return powers.flatMap((power) => steps.map((step) => step * 10 ** power)).filter((tick) => tick >= low && tick <= high);
}

export function forbidden(view, acrossScale, upScale) {
  const red = color("red"), shapes = [], annotations = [];
  const side = (name, scale, figure) => {
    if (scale.limit === null || figure.key.includes(".")) return;
    const across = name === "x", floor = figure.key === "accuracy";
    if (!scale.near && scale.limit > scale.high) {
      const text = `limit ${show(scale.limit * scale.factor, figure.unit)} ${across ? "→" : "↑"}`;
      annotations.push({ text, showarrow: false, font: { color: red, size: 11 }, xref: "paper", yref: "paper", ...(across ? { x: 0.995, xanchor: "right", y: 0.01, yanchor: "bottom" } : { x: 0.008, xanchor: "left", y: 0.995, yanchor: "top" }) });
      return;
    }
    const rect = { type: "rect", fillcolor: red, opacity: 0.09, line: { width: 0 }, layer: "below", xref: "paper", yref: "paper", x0: 0, x1: 1, y0: 0, y1: 1 };
    const far = floor ? (scale.log ? scale.low / 1e6 : scale.low - 1e3 * (scale.high - scale.low)) : (scale.log ? scale.high * 1e6 : scale.high + 1e3 * (scale.high - scale.low));
    shapes.push({ ...rect, [`${name}ref`]: name, [`${name}0`]: scale.limit, [`${name}1`]: far });
    shapes.push({ type: "line", layer: "below", xref: "paper", yref: "paper", x0: 0, x1: 1, y0: 0, y1: 1, line: { color: red, width: 1.4, dash: "dash" }, [`${name}ref`]: name, [`${name}0`]: scale.limit, [`${name}1`]: scale.limit });
    annotations.push({
      text: `${floor ? "floor" : "limit"} ${show(scale.limit * scale.factor, figure.unit)}`, showarrow: false, font: { color: red, size: 11 }, xref: "paper", yref: "paper",
      [`${name}ref`]: name, [name]: scale.log ? Math.log10(scale.limit) : scale.limit,
      ...(across ? { y: 0.01, yanchor: "bottom", xanchor: floor ? "right" : "left", textangle: -90 } : { x: 0.008, xanchor: "left", yanchor: floor ? "top" : "bottom" }),
    });
  };
  side("x", acrossScale, view.x);
  side("y", upScale, view.y);
  return { shapes, annotations };
}
