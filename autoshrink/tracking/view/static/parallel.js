// Parallel coordinates: recipes' settings on the left, figures on the right; dragging along an axis keeps what crosses it.

import { sharp } from "./canvas.js";
import { color, el, fill } from "./dom.js";
import { show } from "./units.js";

const TOP = 58, BOTTOM = 44, SIDE = 54;
const MOST_SETTINGS = 7, MOST_VALUES = 50;

export class Parallel {
  constructor(place, { onbrush, onaxes }) {
    this.onbrush = onbrush;
    this.onaxes = onaxes;
    this.choose = el("details", { class: "axes" }, el("summary", {}, "Axes"));
    this.canvas = el("canvas", { "aria-label": "Recipes against figures" });
    this.place = el("div", { class: "parallel" }, this.canvas);
    place.append(el("div", { class: "tools" }, this.choose, el("span", { class: "note" }, "Drag along an axis to keep what crosses it there; click the axis to let go."), el("span", { class: "grow" }), el("button", { type: "button", class: "quiet", onclick: () => onbrush(null) }, "clear")), this.place);
    this.place.addEventListener("pointerdown", (event) => this.#press(event));
    new ResizeObserver(() => this.view && this.draw(this.view, this.state)).observe(this.place);
  }

  // What a candidate has on an axis: a number from 0, the bottom, to 1; null where its recipe has no such setting.
  axes(view) {
    const names = new Map();
    for (const c of view.candidates) for (const step of c.steps) for (const [key, value] of Object.entries(step)) {
      if (key === "kind") continue;
      const name = `${step.kind}.${key}`;
      if (!names.has(name)) names.set(name, { values: new Set(), low: Infinity, high: -Infinity, numeric: true });
      const known = names.get(name);
      if (known.values.size < MOST_VALUES) known.values.add(value);
      if (typeof value !== "number") known.numeric = false;
      else { known.low = Math.min(known.low, value); known.high = Math.max(known.high, value); }
    }
    const settings = [...names].map(([name, known]) => this.#setting(name, known));
    const figures = view.figures.map((f) => this.#figure(f, view)).filter(Boolean);
    return [...settings, ...figures];
  }

  #setting(name, { values, low, high, numeric }) {
    const [kind, key] = name.split(".");
    const given = (c) => c.steps.find((step) => step.kind === kind)?.[key];
    const list = [...values];
    if (numeric && high > low) {
      const log = low > 0 && high / low > 30;
      const share = (v) => (log ? Math.log(v / low) / Math.log(high / low) : (v - low) / (high - low));
      return { name, label: [kind, key], varies: list.length, share: (c) => (given(c) === undefined ? null : share(given(c))), ends: [String(Number(low.toPrecision(3))), String(Number(high.toPrecision(3)))], setting: true };
    }
    const order = list.map(String).sort();
    return { name, label: [kind, key], varies: list.length, share: (c) => (given(c) === undefined ? null : order.length > 1 ? order.indexOf(String(given(c))) / (order.length - 1) : 0.5), words: order, setting: true };
  }

  #figure(f, view) {
    const values = view.candidates.map((c) => f.get(c)?.value).filter(Number.isFinite);
    if (!values.length) return null;
    values.sort((a, b) => a - b);
    const low = f.key === "accuracy" ? values[Math.floor(values.length * 0.05)] : values[0], high = values[values.length - 1];
    const log = f.key !== "accuracy" && low > 0 && high / low > 12;
    const share = (v) => Math.min(1, Math.max(0, log ? Math.log(v / low) / Math.log(high / low) : (v - low) / (high - low || 1)));
    return { name: f.key, label: ["", f.label], varies: 2, share: (c) => { const v = f.get(c)?.value; return Number.isFinite(v) ? share(v) : null; }, ends: [show(low, f.unit), show(high, f.unit)], setting: false };
  }

  // Says whether a candidate crosses every axis where it was brushed.
  passes(view, brush) {
    const wanted = Object.entries(brush);
    if (!wanted.length) return () => true;
    const all = this.axes(view);
    const tests = wanted.map(([name, ends]) => [all.find((axis) => axis.name === name), ends]).filter(([axis]) => axis);
    return (c) => tests.every(([axis, [low, high]]) => { const at = axis.share(c); return at !== null && at >= low && at <= high; });
  }

  draw(view, state) {
    this.view = view;
    this.state = state;
    if (!this.place.clientWidth) return;
    const all = this.axes(view);
    const defaults = [...all.filter((a) => a.setting && a.varies > 1).sort((a, b) => b.varies - a.varies).slice(0, MOST_SETTINGS), ...all.filter((a) => !a.setting && !a.name.includes("."))].map((a) => a.name);
    const chosen = state.axes.length ? state.axes : defaults;
    this.shown = all.filter((axis) => chosen.includes(axis.name));
    fill(this.choose, el("summary", {}, "Axes"), el("div", { class: "choices" }, all.map((axis) => el("label", {}, el("input", {
      type: "checkbox", checked: chosen.includes(axis.name),
      onchange: (event) => this.onaxes(event.target.checked ? [...chosen, axis.name] : chosen.filter((name) => name !== axis.name)),
    }), ` ${axis.label.filter(Boolean).join(" · ")}`))));
    const pen = sharp(this.canvas, this.place);
    const [wide, high] = [this.place.clientWidth, this.place.clientHeight];
    this.at = (i) => SIDE + (this.shown.length > 1 ? (i * (wide - 2 * SIDE)) / (this.shown.length - 1) : wide / 2 - SIDE);
    this.down = (share) => (share === null ? high - 24 : high - BOTTOM - share * (high - TOP - BOTTOM));
    const crowd = view.candidates.filter((c) => !view.hidden.has(c.state) && c.steps.length);
    const faint = Math.min(0.2, Math.max(0.008, 60 / crowd.length));
    const heaps = { dominated: [], front: [], other: [], out: [] };
    for (const c of crowd) (view.passes(c) ? heaps[c.state] ?? heaps.other : heaps.out).push(c);
    this.#lines(pen, heaps.out, "grey", faint / 2, 1);
    this.#lines(pen, heaps.other, "red", faint, 1);
    this.#lines(pen, heaps.dominated, "grey", Math.min(0.5, 2 * faint), 1);
    this.#lines(pen, heaps.front, "blue", 0.85, 1.8);
    this.#lines(pen, view.compared, "violet", 1, 2.6);
    this.#lines(pen, view.picked ? [view.picked] : [], "ink", 1, 2.6);
    this.#frame(pen, state.brush);
  }

  #lines(pen, candidates, tone, alpha, width) {
    pen.strokeStyle = color(tone);
    pen.globalAlpha = alpha;
    pen.lineWidth = width;
    for (let start = 0; start < candidates.length; start += 200) { // one long path is slower than many short ones
      pen.beginPath();
      for (const c of candidates.slice(start, start + 200)) {
        this.shown.forEach((axis, i) => {
          const [x, y] = [this.at(i), this.down(axis.share(c))];
          if (i) pen.lineTo(x, y); else pen.moveTo(x, y);
        });
      }
      pen.stroke();
    }
    pen.globalAlpha = 1;
  }

  #frame(pen, brush) {
    const ink = color("ink"), dim = color("dim"), high = this.place.clientHeight;
    pen.textAlign = "center";
    pen.lineJoin = "round";
    const write = (text, x, y) => { // readable above the lines that cross it
      pen.strokeStyle = color("card");
      pen.lineWidth = 4;
      pen.strokeText(text, x, y);
      pen.fillText(text, x, y);
    };
    pen.font = "11px system-ui, sans-serif";
    pen.fillStyle = dim;
    if (this.shown.some((axis) => axis.setting)) { pen.textAlign = "left"; write("not used", 0, high - 28); pen.textAlign = "center"; }
    const letters = Math.max(6, Math.floor((this.shown.length > 1 ? this.at(1) - this.at(0) : 200) / 5.8));
    this.shown.forEach((axis, i) => {
      const x = this.at(i);
      pen.strokeStyle = dim;
      pen.lineWidth = 1;
      pen.beginPath();
      pen.moveTo(x, TOP);
      pen.lineTo(x, high - BOTTOM);
      pen.stroke();
      pen.font = "11px system-ui, sans-serif";
      pen.fillStyle = dim;
      pen.fillText(clip(axis.label[0].replaceAll("_", " "), letters), x, 14);
      pen.fillStyle = ink;
      pen.font = "600 12px system-ui, sans-serif";
      pen.fillText(clip(axis.label[1].replaceAll("_", " "), letters - 2), x, 29);
      pen.font = "11px system-ui, sans-serif";
      pen.fillStyle = dim;
      if (axis.ends) { write(axis.ends[1], x, TOP - 8); write(axis.ends[0], x, high - 6); }
      else axis.words.slice(0, 12).forEach((word, k) => { write(clip(word, 14), x, this.down(axis.words.length > 1 ? k / (axis.words.length - 1) : 0.5) - 4); });
      if (brush[axis.name]) {
        const [low, top] = brush[axis.name];
        pen.fillStyle = color("blue");
        pen.globalAlpha = 0.25;
        pen.fillRect(x - 8, this.down(top), 16, this.down(low) - this.down(top));
        pen.globalAlpha = 1;
      }
    });
  }

  #press(event) {
    const box = this.place.getBoundingClientRect(), high = this.place.clientHeight;
    const i = this.shown.findIndex((_, k) => Math.abs(this.at(k) - (event.clientX - box.left)) < 22);
    if (i < 0) return;
    const share = (y) => Math.min(1, Math.max(0, (high - BOTTOM - (y - box.top)) / (high - TOP - BOTTOM)));
    const from = share(event.clientY);
    const move = (later) => {
      const to = share(later.clientY);
      if (Math.abs(to - from) > 0.01) this.onbrush(this.shown[i].name, [Math.min(from, to), Math.max(from, to)]);
      else if (later.type === "pointerup") this.onbrush(this.shown[i].name, null);
    };
    const up = (later) => { move(later); window.removeEventListener("pointermove", move); window.removeEventListener("pointerup", up); };
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", up);
    event.preventDefault();
  }
}

const clip = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
