// Beside the scatter: the limits as sliders, the suggestions, and the candidate that is looked at.

import { address, mlflow, words } from "./data.js";
import { el, fill } from "./dom.js";
import { best, knee } from "./judge.js";
import { pickForm, suggested } from "./pick.js";
import { band, least, most, ratio, show } from "./units.js";

const STEPS = 1000;

// One slider for each figure that a limit can be set on.
export class Limits {
  constructor(place, { oninput }) {
    this.place = place;
    this.oninput = oninput;
    this.rows = new Map();
  }

  // figures: accuracy and costs; declared: the search's limits; chosen: narrower ones by name.
  draw(figures, candidates, declared, chosen) {
    for (const figure of figures) {
      const values = candidates.filter((c) => c.outcome === "measured").map((c) => figure.get(c)?.high).filter(Number.isFinite);
      if (!values.length) continue;
      const floor = figure.key === "accuracy";
      const limit = floor ? declared.test_floor ?? declared.floor : declared.costs[figure.key];
      const low = floor ? limit : Math.min(least(values), limit ?? Infinity);
      const high = floor ? Math.max(most(values), limit) : limit ?? most(values);
      const row = this.rows.get(figure.key) ?? this.#row(figure, floor);
      Object.assign(row, { low, high, floor, log: !floor && low > 0 && high / low > 4, declared: limit, figure });
      row.shown = chosen[figure.key] ?? (floor ? low : high);
      if (document.activeElement !== row.input) row.input.value = String(Math.round(STEPS * this.#share(row, row.shown)));
      this.#say(row, figure.key in chosen);
    }
  }

  #row(figure, floor) {
    const input = el("input", { type: "range", min: "0", max: String(STEPS), step: "1", id: `limit-${figure.key}` });
    const output = el("output", { for: input.id });
    const sign = floor ? "≥" : "≤";
    const row = { input, output };
    input.addEventListener("input", () => {
      const value = this.#value(row, Number(input.value) / STEPS);
      const open = floor ? value <= row.low : value >= row.high;
      row.shown = value;
      this.#say(row, !open);
      this.oninput(figure.key, open ? null : value);
    });
    this.place.append(el("div", { class: "limit" }, el("label", { for: input.id }, `${figure.label} ${sign} `, output), input));
    this.rows.set(figure.key, row);
    return row;
  }

  #say(row, narrowed) {
    const free = row.declared === undefined || row.declared === null;
    row.output.textContent = !narrowed && free ? "no limit" : show(row.shown, row.figure.unit);
    row.output.classList.toggle("narrowed", narrowed);
    row.input.setAttribute("aria-valuetext", row.output.textContent);
  }

  #share(row, value) {
    if (row.high <= row.low) return row.floor ? 0 : 1;
    return row.log ? Math.log(value / row.low) / Math.log(row.high / row.low) : (value - row.low) / (row.high - row.low);
  }

  #value(row, share) {
    if (share <= 0) return row.low;
    if (share >= 1) return row.high;
    return row.log ? row.low * (row.high / row.low) ** share : row.low + share * (row.high - row.low);
  }
}

const SUPERLATIVES = { accuracy: "most accurate", latency: "fastest", size: "smallest", memory: "least memory", energy: "least energy" };

export function suggestions(place, view, onpick) {
  const { front, objectives, figures, original } = view;
  if (!front.length) {
    fill(place, el("p", { class: "note" }, "No candidate meets these limits. Widen them, or look at what they stop: switch on “breaks a limit”."));
    return;
  }
  const rows = [["knee", knee(front, objectives)], ...figures.map((f) => [SUPERLATIVES[f.key] ?? `best ${f.label}`, best(front, f.key), f])];
  fill(place, el("div", { class: "suggested" }, rows.filter(([, c]) => c).map(([name, c, f]) =>
    el("button", { type: "button", "data-suggestion": name, onclick: () => { suggested(c, f ? f.key : "knee"); onpick(c); } },
      el("b", {}, name), el("span", {}, c.id ? `candidate ${c.id}` : "the original"), el("span", { class: "figure" }, f ? show(f.get(c)?.value, f.unit) : brief(c, figures, original))))));
}

const brief = (c, figures, original) => {
  const first = figures.find((f) => f.key !== "accuracy" && f.get(c));
  const before = original && first?.get(original)?.value;
  return first ? `${show(first.get(c).value, first.unit)}${before ? `, ${ratio(before, first.get(c).value)}` : ""}` : "";
};

const STATES = { front: "on the front", dominated: "dominated", over_budget: "breaks a limit", refused: "refused", stopped: "stopped", failed: "failed" };
export const stateWords = (state) => STATES[state] ?? state;

export function figureRows(c, figures, original) {
  return figures.filter((f) => f.get(c)).map((f) => {
    const figure = f.get(c), before = original && original !== c ? f.get(original)?.value : null;
    const change = before === null || before === undefined ? "" : f.key === "accuracy"
      ? `${figure.value >= before ? "+" : "−"}${(Math.abs(figure.value - before) * (f.unit === "%" ? 100 : 1)).toFixed(2)}`
      : ratio(before, figure.value);
    return el("tr", {}, el("th", { scope: "row" }, f.label), el("td", { class: "figure" }, show(figure.value, f.unit)),
      el("td", { class: "figure" }, change), el("td", { class: "dim" }, band(figure, f.unit), " ", el("span", { class: `origin ${figure.origin}` }, figure.origin)));
  });
}

// The candidate that is looked at, with everything that is known of it.
export function detail(place, c, view, handlers) {
  if (!c) {
    fill(place, el("h2", {}, "Candidate"), el("p", { class: "note" }, "Point at a mark to read it, click it to look at it here. Shift-click takes it to compare."));
    return;
  }
  const { figures, original, search } = view;
  const splits = Object.entries(c.accuracy).map(([split, x]) => `${split} ${show(x, figures[0].unit)}`).join(", ");
  fill(place,
    el("h2", {}, c.id === 0 ? "The original model" : `Candidate ${c.id}`, el("span", { class: `state ${c.state}` }, stateWords(c.state))),
    c.reason && c.state !== "front" && c.state !== "dominated" ? el("p", { class: "reason" }, c.reason) : null,
    el("table", { class: "figures" }, el("tbody", {}, figureRows(c, figures.filter((f) => !f.key.includes(".")), original))),
    splits ? el("p", { class: "dim" }, `accuracy: ${splits}`) : null,
    el("ol", { class: "recipe" }, c.steps.map((step) => el("li", {}, el("b", {}, step.kind), " ", words(step).slice(step.kind.length).replace(/^\(|\)$/g, "")))),
    el("div", { class: "buttons" },
      el("button", { type: "button", id: "take", "aria-pressed": String(view.compared.includes(c)), onclick: () => handlers.oncompare(c) }, view.compared.includes(c) ? "Comparing" : "Compare"),
      c.model ? el("a", { class: "button", href: address(`api/candidates/${c.run}/files.zip`), download: "" }, "Download") : null,
      el("a", { class: "button", href: mlflow(`/experiments/${search.about.experiment}/runs/${c.run}`) }, "MLflow run")),
    pickForm(c, search));
}
