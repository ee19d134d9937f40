// The scatter: plotly draws axes, limits, front and bars; the crowd is drawn on a canvas beneath it, because ten thousand
// SVG circles take plotly a third of a second, and its WebGL needs scripts made at run time, which the page forbids.

import { forbidden, scaleOf, ticks } from "./axes.js";
import { ramp, sharp } from "./canvas.js";
import { color } from "./dom.js";
import { least, most } from "./units.js";

const CROWD = { dominated: ["grey", "disc"], over_budget: ["red", "cross"], stopped: ["violet", "disc"], refused: ["violet", "cross"], failed: ["red", "cross"] };
const NEAR = 14;

export class Chart {
  constructor(place, graph, cloud, rings, tip, { onpick, oncompare }) {
    Object.assign(this, { place, graph, cloud, rings, tip, onpick, oncompare });
    this.view = null;
    this.shown = [];
    this.hovered = null;
    place.addEventListener("pointermove", (event) => this.#hover(event));
    place.addEventListener("pointerleave", () => this.#point(null));
    place.addEventListener("pointerdown", (event) => { this.pressed = [event.clientX, event.clientY]; }, true);
    window.addEventListener("pointerup", (event) => this.#release(event), true);
    place.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => { if (this.view) { Plotly.Plots.resize(this.graph); this.#overlay(); } }).observe(place);
  }

  // view: {x, y, z, as, candidates, front, original, knee, limits, labels, picked, compared}
  draw(view) {
    this.view = view;
    this.#scale();
    const { traces, layout } = this.#figure();
    layout.uirevision = `${view.x.key} ${view.y.key}`;
    const config = { displaylogo: false, responsive: false, displayModeBar: false, doubleClick: "reset" };
    Plotly.react(this.graph, traces, layout, config);
    if (!this.wired) {
      this.wired = true;
      this.graph.on("plotly_relayout", () => this.#overlay());
      this.graph.on("plotly_relayouting", () => this.#overlay());
    }
    this.#overlay();
  }

  // Axes stand still while a slider is moved: they follow what is compared, and what comes in.
  #scale() {
    const { x, y, candidates } = this.view;
    const [across, up] = [scaleOf(x, this.view), scaleOf(y, this.view)];
    const key = `${x.key} ${y.key} ${candidates.length}`;
    const moved = (old, now) => ({ ...old, limit: now.limit === null ? null : (now.limit * now.factor) / old.factor, near: true });
    [this.across, this.up] = key === this.key ? [moved(this.across, across), moved(this.up, up)] : [across, up];
    this.key = key;
  }

  #figure() {
    const { x, y, front, original, knee } = this.view;
    const ink = color("ink"), soft = color("line"), blue = color("blue"), orange = color("orange");
    const place = (c) => [x.get(c), y.get(c)];
    const on = front.filter((c) => place(c).every(Boolean));
    const bars = (axis, side) => ({
      type: "data", symmetric: false, width: 0, thickness: 1.4, color: blue,
      array: on.map((c) => (axis.get(c).high - axis.get(c).value) / side.factor),
      arrayminus: on.map((c) => (axis.get(c).value - axis.get(c).low) / side.factor),
    });
    const line = this.#bestLine(on);
    const paint = this.#paint();
    const hollow = (c) => place(c).some((figure) => figure.origin === "modelled");
    const traces = [
      { x: line.map((p) => p[0]), y: line.map((p) => p[1]), mode: "lines", line: { color: blue, width: 1.6, shape: x.better > 0 ? "vh" : "hv" }, opacity: 0.75, hoverinfo: "skip" },
      {
        x: on.map((c) => x.get(c).value / this.across.factor), y: on.map((c) => y.get(c).value / this.up.factor),
        mode: on.length <= 60 ? "markers+text" : "markers", hoverinfo: "skip", cliponaxis: true,
        text: this.#labels(on, knee), textposition: "bottom right", textfont: { size: 11, color: blue },
        error_x: bars(x, this.across), error_y: bars(y, this.up),
        marker: {
          symbol: on.map((c) => (hollow(c) ? "circle-open" : "circle")), opacity: 1,
          size: on.map((c) => paint.size(c, 10)), color: on.map((c) => paint.color(c, blue)),
          line: { width: on.map((c) => (hollow(c) ? 2.2 : 1)), color: on.map((c) => (hollow(c) ? paint.color(c, blue) : color("card"))) },
        },
      },
    ];
    if (original && place(original).every(Boolean)) {
      traces.push({
        x: [x.get(original).value / this.across.factor], y: [y.get(original).value / this.up.factor], mode: "markers", hoverinfo: "skip",
        marker: { symbol: hollow(original) ? "star-open" : "star", size: 17, color: orange, line: { width: 1, color: color("card") } },
      });
    }
    const axis = (side, figure) => ({
      title: { text: `${figure.label}${side.unit ? `, ${side.unit}` : ""}`.replace(/[<>&]/g, " "), standoff: 8, font: { size: 13 } },
      type: side.log ? "log" : "linear", range: side.log ? [Math.log10(side.low), Math.log10(side.high)] : [side.low, side.high],
      color: ink, gridcolor: soft, zeroline: false, linecolor: soft, automargin: false, exponentformat: "none",
      ...(side.log ? { tickvals: ticks(side), ticktext: ticks(side).map((tick) => String(Number(tick.toPrecision(2)))) } : {}),
    });
    const layout = {
      xaxis: axis(this.across, x), yaxis: axis(this.up, y), showlegend: false, hovermode: false, dragmode: this.mode ?? "zoom",
      margin: { l: 64, r: 18, t: 14, b: 52 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 12, color: ink }, ...forbidden(this.view, this.across, this.up),
    };
    return { traces, layout };
  }

  // What dragging does: "zoom" or "pan".
  drags(mode) {
    this.mode = mode;
    Plotly.relayout(this.graph, { dragmode: mode });
  }

  // Shows everything again.
  reset() {
    this.key = "";
    this.draw(this.view);
    const [x, y] = [this.across, this.up].map((side) => (side.log ? [Math.log10(side.low), Math.log10(side.high)] : [side.low, side.high]));
    Plotly.relayout(this.graph, { "xaxis.range": x, "yaxis.range": y });
  }

  // The members' ids, where they don't cover each other: the knee's first.
  #labels(front, knee) {
    const wide = this.place.clientWidth - 82, high = this.place.clientHeight - 66;
    const at = (side, value) => (side.log ? Math.log(value / side.factor / side.low) / Math.log(side.high / side.low) : (value / side.factor - side.low) / (side.high - side.low));
    const places = new Map(front.map((c) => [c, [wide * at(this.across, this.view.x.get(c).value), high * at(this.up, this.view.y.get(c).value)]]));
    const taken = [];
    for (const c of [...front].sort((a, b) => (b === knee) - (a === knee))) {
      const [x, y] = places.get(c);
      const room = c === knee ? 52 : 24;
      if (taken.every(([left, top, wider]) => x > left + wider || x + room < left || Math.abs(y - top) > 14)) taken.push([x, y, room, c]);
    }
    const labelled = new Set(taken.map(([, , , c]) => c));
    return front.map((c) => (!labelled.has(c) ? "" : c === knee ? `${c.id} knee` : String(c.id)));
  }

  // The members that are best in these two figures alone.
  #bestLine(front) {
    const { x, y } = this.view;
    const points = front.map((c) => [x.get(c).value / this.across.factor, y.get(c).value / this.up.factor]);
    points.sort((a, b) => -x.better * (a[0] - b[0]) || -y.better * (a[1] - b[1]));
    const line = [];
    for (const point of points) if (!line.length || y.better * (point[1] - line[line.length - 1][1]) > 0) line.push(point);
    return line.sort((a, b) => a[0] - b[0]);
  }

  // How the third figure shows: as a color or as a size.
  #paint() {
    const { z, as, candidates, front } = this.view;
    if (!z) return { color: (_, own) => own, size: (_, own) => own, index: null };
    const core = (front.length ? front : candidates).map((c) => z.get(c)?.value).filter(Number.isFinite);
    const all = candidates.map((c) => z.get(c)?.value).filter(Number.isFinite);
    const top = most(core), low = least(core), high = Math.max(top, most(all.filter((v) => v <= 4 * top)));
    const log = low > 0 && high / low > 12;
    const share = (value) => Math.min(1, Math.max(0, log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low || 1)));
    const index = (c) => (Number.isFinite(z.get(c)?.value) ? Math.round(31 * share(z.get(c).value)) : -1);
    this.third = { low, high, log, z, as };
    return as === "size"
      ? { color: (_, own) => own, size: (c, own) => (index(c) < 0 ? own : own * (0.55 + (index(c) / 31) * 1.5)), index }
      : { color: (c, own) => (index(c) < 0 ? own : ramp(index(c) / 31)), size: (_, own) => own, index };
  }

  // Where a figure is drawn, in pixels of the place; null where it has no number.
  #pixels(c) {
    const { x, y } = this.view;
    const one = x.get(c), other = y.get(c);
    const { xaxis, yaxis, _size: size } = this.graph._fullLayout;
    if (!one && !other) return null;
    const left = one ? xaxis.d2p(one.value / this.across.factor) : 5;
    const top = other ? yaxis.d2p(other.value / this.up.factor) : size.h - 5;
    if (!Number.isFinite(left) || !Number.isFinite(top)) return null;
    return [size.l + left, size.t + top];
  }

  #overlay() {
    const { candidates, front, original, hidden, passes } = this.view;
    const { _size: size } = this.graph._fullLayout;
    const pen = sharp(this.cloud, this.place);
    pen.save();
    pen.beginPath();
    pen.rect(size.l, size.t, size.w, size.h);
    pen.clip();
    const paint = this.#paint();
    const loud = new Set([...front, original]);
    this.shown = [];
    const heaps = new Map();
    for (const c of candidates) {
      if (hidden.has(c.state) && c !== original) continue;
      const at = this.#pixels(c);
      if (!at || at[0] < size.l - 1 || at[0] > size.l + size.w + 1 || at[1] < size.t - 1 || at[1] > size.t + size.h + 1) continue;
      this.shown.push([at[0], at[1], c]);
      if (loud.has(c)) continue;
      const tone = paint.index ? paint.index(c) : -1;
      const key = `${c.state}|${passes(c) ? 1 : 0}|${tone}`;
      if (!heaps.has(key)) heaps.set(key, []);
      heaps.get(key).push(at);
    }
    const alpha = candidates.length > 2000 ? 0.4 : 0.6;
    for (const [key, heap] of heaps) {
      const [state, passing, tone] = key.split("|");
      const [name, shape] = CROWD[state] ?? ["grey", "disc"];
      const colored = paint.index && this.view.as === "color" && tone >= 0;
      const size_ = paint.index && this.view.as === "size" && tone >= 0 ? 1.6 + (tone / 31) * 5 : candidates.length > 2000 ? 2.3 : 3.4;
      pen.globalAlpha = passing === "1" ? alpha : 0.08;
      pen.beginPath();
      if (shape === "disc") {
        pen.fillStyle = colored ? ramp(tone / 31) : color(name);
        for (const [left, top] of heap) { pen.moveTo(left + size_, top); pen.arc(left, top, size_, 0, 7); }
        pen.fill();
      } else {
        pen.strokeStyle = colored ? ramp(tone / 31) : color(name);
        pen.lineWidth = 1.3;
        for (const [left, top] of heap) { pen.moveTo(left - size_, top - size_); pen.lineTo(left + size_, top + size_); pen.moveTo(left + size_, top - size_); pen.lineTo(left - size_, top + size_); }
        pen.stroke();
      }
    }
    pen.restore();
    this.#marks();
  }

  #marks() {
    const pen = sharp(this.rings, this.place);
    const ring = (c, tone, radius) => {
      const at = c && this.#pixels(c);
      if (!at) return;
      pen.strokeStyle = color(tone);
      pen.lineWidth = 2.4;
      pen.beginPath();
      pen.arc(at[0], at[1], radius, 0, 7);
      pen.stroke();
    };
    const { picked, compared, knee } = this.view;
    if (knee) ring(knee, "blue", 9.5);
    for (const c of compared) ring(c, "violet", 12.5);
    if (picked) ring(picked, "ink", 11);
    if (this.hovered) { ring(this.hovered, "ink", 8); this.#bars(pen, this.hovered); }
  }

  #bars(pen, c) {
    const { x, y } = this.view;
    const one = x.get(c), other = y.get(c);
    if (!one || !other) return;
    const { xaxis, yaxis, _size: size } = this.graph._fullLayout;
    const at = this.#pixels(c);
    pen.lineWidth = 1.4;
    pen.beginPath();
    pen.moveTo(size.l + xaxis.d2p(one.low / this.across.factor), at[1]);
    pen.lineTo(size.l + xaxis.d2p(one.high / this.across.factor), at[1]);
    pen.moveTo(at[0], size.t + yaxis.d2p(other.low / this.up.factor));
    pen.lineTo(at[0], size.t + yaxis.d2p(other.high / this.up.factor));
    pen.stroke();
  }

  #nearest(event) {
    const box = this.place.getBoundingClientRect();
    const [left, top] = [event.clientX - box.left, event.clientY - box.top];
    let found = null, least = NEAR * NEAR;
    for (const [x, y, c] of this.shown) {
      const far = (x - left) ** 2 + (y - top) ** 2 - (c.state === "front" ? 30 : 0); // the front wins where it is close
      if (far < least) { least = far; found = c; }
    }
    return found;
  }

  #hover(event) { if (this.view && !event.buttons) this.#point(this.#nearest(event)); }

  #point(c) {
    if (c === this.hovered) return;
    this.hovered = c;
    this.place.classList.toggle("over", Boolean(c));
    if (this.view) this.#marks();
    this.#say(c);
  }

  #say(c) {
    this.tip.hidden = !c;
    if (!c) return;
    const at = this.#pixels(c);
    this.tip.replaceChildren(...this.view.tell(c));
    const wide = this.place.clientWidth, right = at[0] > wide / 2;
    this.tip.style.left = right ? "auto" : `${at[0] + 16}px`;
    this.tip.style.right = right ? `${wide - at[0] + 16}px` : "auto";
    this.tip.style.top = `${Math.max(4, Math.min(at[1] - 20, this.place.clientHeight - this.tip.offsetHeight - 8))}px`;
  }

  #release(event) {
    if (!this.pressed || !this.view) return;
    const moved = Math.hypot(event.clientX - this.pressed[0], event.clientY - this.pressed[1]);
    this.pressed = null;
    if (moved > 4 || !this.place.contains(event.target) && !document.elementsFromPoint(event.clientX, event.clientY).includes(this.place)) return;
    const found = this.#nearest(event);
    if (found) (event.shiftKey || event.ctrlKey || event.metaKey ? this.oncompare : this.onpick)(found);
  }

  #key(event) {
    if (!this.view) return;
    const walk = this.view.front.filter((c) => this.#pixels(c)).sort((a, b) => this.#pixels(a)[0] - this.#pixels(b)[0]);
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step && walk.length) {
      const here = walk.indexOf(this.hovered ?? this.view.picked);
      this.#point(walk[(here + step + walk.length) % walk.length]);
    } else if (event.key === "Enter" && this.hovered) this.onpick(this.hovered);
    else if (event.key.toLowerCase() === "c" && !event.ctrlKey && !event.metaKey && this.hovered) this.oncompare(this.hovered);
    else if (event.key === "Escape") this.#point(null);
    else return;
    event.preventDefault();
  }
}
