// Two candidates side by side: figures, what their recipes have apart, and their layers.

import { ask } from "./data.js";
import { el, fill } from "./dom.js";
import { stateWords } from "./side.js";
import { band, show } from "./units.js";

const layers = new Map();
const read = (c) => {
  if (!c.model) return Promise.resolve({ layers: [], counted: {} });
  if (!layers.has(c.run)) layers.set(c.run, ask(`api/candidates/${c.run}/layers`).catch(() => ({ layers: [], counted: {} })));
  return layers.get(c.run);
};

export async function compare(place, [one, other], view, { onclose, onpick }) {
  place.hidden = false;
  const { figures } = view;
  const name = (c) => (c.id === 0 ? "the original" : `candidate ${c.id}`);
  const head = (c) => el("th", { scope: "col" }, el("button", { type: "button", class: "quiet", onclick: () => onpick(c) }, name(c)), " ", el("span", { class: `state ${c.state}` }, stateWords(c.state)));
  const table = el("div", {}, el("p", { class: "note" }, "Loading the layers …"));
  fill(place,
    el("h2", { id: "compare-title" }, `${name(one)} and ${name(other)}`.replace(/^./, (c) => c.toUpperCase()), el("button", { type: "button", class: "quiet", onclick: onclose }, "close")),
    el("div", { class: "wide" }, el("table", { class: "side-by-side", id: "compare-figures" },
      el("thead", {}, el("tr", {}, el("td", {}), head(one), head(other), el("th", { scope: "col" }, "ratio"))),
      el("tbody", {}, figures.filter((f) => f.get(one) || f.get(other)).map((f) => row(f, one, other))))),
    el("h3", {}, "Recipes"),
    el("div", { class: "wide" }, el("table", { class: "side-by-side", id: "compare-recipes" }, el("tbody", {}, recipeRows(one, other)))),
    el("h3", {}, "Layers"), table);
  const [first, second] = await Promise.all([read(one), read(other)]);
  fill(table, layerTable(one, other, first, second, name));
}

function row(f, one, other) {
  const [a, b] = [f.get(one), f.get(other)];
  const better = (x, y) => x && y && f.better * (x.value - y.value) > 0 && !(x.low <= y.high && y.low <= x.high && f.key !== "accuracy" && x.low !== x.high);
  const cell = (x, wins) => el("td", { class: wins ? "better" : "" }, x ? show(x.value, f.unit) : "–",
    x && x.low !== x.high ? el("span", { class: "dim" }, ` ${band(x, f.unit)}`) : null, x && x.origin === "modelled" ? el("span", { class: "origin modelled" }, " modelled") : null);
  const apart = a && b && (f.key === "accuracy" || (a.value > 0 && b.value > 0)) ? (f.key === "accuracy" ? signed(b.value - a.value, f.unit) : `${(b.value / a.value).toFixed(2)}×`) : "";
  return el("tr", {}, el("th", { scope: "row" }, f.label), cell(a, better(a, b)), cell(b, better(b, a)), el("td", { class: "dim" }, apart));
}

const signed = (x, unit) => `${x >= 0 ? "+" : "−"}${(Math.abs(x) * (unit === "%" ? 100 : 1)).toFixed(2)}${unit === "%" ? " points" : ""}`;

function recipeRows(one, other) {
  const settings = (c) => new Map(c.steps.flatMap((step) => Object.entries(step).filter(([k]) => k !== "kind").map(([k, v]) => [`${step.kind} · ${k}`, v])
    .concat(Object.keys(step).length === 1 ? [[step.kind, "used"]] : [])));
  const [a, b] = [settings(one), settings(other)];
  const text = (v) => (v === undefined ? "not used" : typeof v === "number" ? String(Number(v.toPrecision(4))) : String(v));
  const rows = [...new Set([...a.keys(), ...b.keys()])].map((key) => [key, text(a.get(key)), text(b.get(key))]);
  rows.sort((x, y) => (y[1] !== y[2]) - (x[1] !== x[2]));
  if (!rows.length) return [el("tr", {}, el("td", {}, "neither has a step"))];
  return rows.map(([key, x, y]) => el("tr", { class: x === y ? "same" : "apart" }, el("th", { scope: "row" }, key), el("td", {}, x), el("td", {}, y)));
}

function layerTable(one, other, first, second, name) {
  const [a, b] = [first.layers ?? [], second.layers ?? []];
  if (!a.length && !b.length) {
    const counted = [[one, first], [other, second]].filter(([, read]) => Object.keys(read.counted ?? {}).length);
    if (counted.length) return counted.map(([c, read]) => el("p", {}, el("b", {}, name(c)), `: ${Object.entries(read.counted).map(([k, v]) => `${k} ${typeof v === "object" ? JSON.stringify(v) : v}`).join(", ")}`));
    return el("p", { class: "note" }, "MLflow has the layers of the front alone, when a search has ended.");
  }
  const cells = (layer) => (layer
    ? [el("td", {}, String(layer.operator)), el("td", { class: "figure" }, (layer.shape ?? []).join("×")), el("td", {}, String(layer.format)), el("td", { class: "figure" }, share(layer)), el("td", { class: "figure" }, show(layer.bytes, "B"))]
    : [el("td", { colspan: "5", class: "dim" }, "–")]);
  const heads = ["operator", "shape", "format", "non-zero", "bytes"].map((text) => el("th", { scope: "col" }, text));
  const rows = Array.from({ length: Math.max(a.length, b.length) }, (_, i) =>
    el("tr", { class: a[i] && b[i] && JSON.stringify([a[i].operator, a[i].shape, a[i].format]) === JSON.stringify([b[i].operator, b[i].shape, b[i].format]) ? "same" : "apart" },
      el("th", { scope: "row" }, String(i + 1)), cells(a[i]), cells(b[i])));
  return el("div", { class: "wide" }, el("table", { class: "side-by-side layers", id: "compare-layers" },
    el("thead", {},
      el("tr", {}, el("td", {}), el("th", { colspan: "5", scope: "colgroup" }, name(one)), el("th", { colspan: "5", scope: "colgroup" }, name(other))),
      el("tr", {}, el("th", { scope: "col" }, "layer"), heads, heads.map((h) => h.cloneNode(true)))),
    el("tbody", {}, rows)));
}

const share = (layer) => (layer.weights > 0 ? `${((100 * layer.nonzero) / layer.weights).toFixed(0)} %` : "–");
