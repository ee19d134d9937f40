// The candidates as a table: filtered, sorted, at most two hundred rows at a time.

import { el, fill } from "./dom.js";
import { stateWords } from "./side.js";
import { show } from "./units.js";

const MOST = 200;
const SHOWS = { front: "the front", inside: "inside the limits", all: "all", over_budget: "breaks a limit", stopped: "stopped", refused: "refused", failed: "failed" };

export class Table {
  constructor(place, { onpick, oncompare, onchange }) {
    this.onpick = onpick;
    this.oncompare = oncompare;
    this.onchange = onchange;
    this.most = MOST;
    this.find = el("input", { type: "search", id: "find", placeholder: "quantization, weight_bits=8 …", autocomplete: "off", oninput: () => onchange({ find: this.find.value }) });
    this.show = el("select", { id: "show", onchange: () => onchange({ show: this.show.value }) }, Object.entries(SHOWS).map(([value, text]) => el("option", { value }, text)));
    this.count = el("span", { class: "note", role: "status", id: "rows" });
    this.rows = el("div", { class: "wide" });
    place.append(el("div", { class: "tools" }, el("label", {}, "Show ", this.show), el("label", {}, "Recipe has ", this.find), this.count), this.rows);
  }

  draw(view, state) {
    this.show.value = state.show in SHOWS ? state.show : "front";
    if (document.activeElement !== this.find) this.find.value = state.find;
    const columns = view.figures.filter((f) => !f.key.includes("."));
    const wanted = state.find.toLowerCase().split(/\s+/).filter(Boolean);
    const kinds = { all: () => true, inside: (c) => c.state === "front" || c.state === "dominated" };
    const kind = kinds[this.show.value] ?? ((c) => c.state === this.show.value);
    const found = view.candidates.filter((c) => kind(c) && view.passes(c) && wanted.every((word) => c.words.toLowerCase().includes(word)));
    const [key, down] = [state.sort.replace(/^-/, ""), state.sort.startsWith("-")];
    const by = columns.find((f) => f.key === key);
    const value = by ? (c) => by.get(c)?.value ?? Infinity : key === "id" ? (c) => c.id : null;
    if (value) found.sort((a, b) => (down ? -1 : 1) * (value(a) - value(b)) || a.id - b.id);
    else if (this.show.value === "front") found.sort((a, b) => view.front.indexOf(a) - view.front.indexOf(b));
    this.count.textContent = `${found.length} of ${view.candidates.length} candidates`;
    const head = (text, name) => el("th", { scope: "col", "aria-sort": key === name ? (down ? "descending" : "ascending") : undefined },
      el("button", { type: "button", class: "quiet", onclick: () => this.onchange({ sort: key === name && !down ? `-${name}` : name }) }, text, key === name ? (down ? " ↓" : " ↑") : ""));
    const row = (c) => el("tr", { class: [view.picked === c ? "picked" : "", c.state].join(" "), "data-candidate": String(c.id) },
      el("td", {}, el("input", { type: "checkbox", checked: view.compared.includes(c), "aria-label": `compare candidate ${c.id}`, onchange: () => this.oncompare(c) })),
      el("th", { scope: "row" }, el("button", { type: "button", class: "quiet", onclick: () => this.onpick(c) }, `${c.id}${c === view.knee ? " knee" : ""}`)),
      el("td", {}, el("span", { class: `state ${c.state}` }, stateWords(c.state))),
      columns.map((f) => { const figure = f.get(c); return el("td", { class: "figure" }, figure ? `${figure.origin === "modelled" ? "~" : ""}${show(figure.value, f.unit)}` : "–"); }),
      el("td", { class: "recipe", title: c.words }, el("div", {}, c.state === "refused" || c.state === "failed" ? `${c.words}: ${c.reason}` : c.words)));
    const more = found.length > this.most ? el("button", { type: "button", onclick: () => { this.most *= 5; this.draw(view, state); } }, `Show more of ${found.length}`) : null;
    fill(this.rows,
      el("table", { class: "candidates" },
        el("thead", {}, el("tr", {}, el("td", {}), head("id", "id"), el("th", { scope: "col" }, "state"), columns.map((f) => head(f.label, f.key)), el("th", { scope: "col" }, "recipe"))),
        el("tbody", {}, found.slice(0, this.most).map(row))),
      found.length ? null : el("p", { class: "note" }, "None."), more);
  }
}
