// The page of one search: reads it, follows it, and draws what the state says.

import { ramp } from "./canvas.js";
import { Chart } from "./chart.js";
import { compare } from "./compare.js";
import { mlflow, Search } from "./data.js";
import { byId, el, fill, toast } from "./dom.js";
import { costsOf, figuresOf } from "./figures.js";
import { judge, knee, tightened } from "./judge.js";
import { OverTime } from "./over_time.js";
import { Parallel } from "./parallel.js";
import { detail, Limits, stateWords, suggestions } from "./side.js";
import * as address from "./state.js";
import { Table } from "./table.js";
import { ago, bandOf, ratio, show, times } from "./units.js";

const LIVE = 1000, IDLE = 10000;
const STATES = ["front", "dominated", "over_budget", "stopped", "refused", "failed"];
const search = new Search(location.pathname.split("/").filter(Boolean).pop());
let defaults = {}, state = {}, view = null, changing = 0;

const chart = new Chart(byId("plot"), byId("graph"), byId("cloud"), byId("rings"), byId("tip"), { onpick: choose, oncompare: take });
const limits = new Limits(byId("limits"), { oninput: limit });
const table = new Table(byId("table"), { onpick: choose, oncompare: take, onchange: (change) => { Object.assign(state, change); keep(); table.draw(view, state); } });
const parallel = new Parallel(byId("recipes"), { onbrush: brush, onaxes: (axes) => { state.axes = axes; keep(); parallel.draw(view, state); } });
const overTime = new OverTime(byId("time"));

function keep() { address.write(state, defaults); }

function choose(c) { state.pick = c.id; keep(); redraw(); byId("detail").scrollIntoView({ block: "nearest", behavior: "smooth" }); }

function take(c) {
  state.compare = state.compare.includes(c.id) ? state.compare.filter((id) => id !== c.id) : [...state.compare, c.id].slice(-2);
  if (state.compare.length === 1) toast(`Candidate ${c.id} is taken: choose another one to compare it with`);
  keep();
  redraw();
}

function limit(name, value) {
  if (value === null) delete state.limits[name]; else state.limits[name] = value;
  cancelAnimationFrame(changing);
  changing = requestAnimationFrame(() => { keep(); redraw({ sliding: true }); });
}

function brush(name, ends) {
  if (name === null) state.brush = {};
  else if (ends === null) delete state.brush[name];
  else state.brush[name] = ends;
  cancelAnimationFrame(changing);
  changing = requestAnimationFrame(() => { keep(); redraw(); });
}

// Everything that is drawn, worked out from the candidates and the state.
function look() {
  const { brief } = search.about;
  const candidates = search.candidates;
  const figures = figuresOf(candidates, brief);
  const plain = figures.filter((f) => f.key === "accuracy" || !f.key.includes("."));
  const narrowed = tightened(brief.limits, state.limits);
  const front = judge(candidates, brief.objectives, narrowed);
  const find = (id) => candidates.find((c) => c.id === id) ?? null;
  const axis = (name, fallback) => figures.find((f) => f.key === name) ?? fallback;
  const made = {
    search, brief, candidates, figures, front, original: find(0), knee: knee(front, brief.objectives), objectives: brief.objectives,
    limits: narrowed, hidden: new Set(state.hide), picked: state.pick === null ? null : find(state.pick), compared: state.compare.map(find).filter(Boolean),
    x: axis(state.x, figures[1] ?? figures[0]), y: axis(state.y, figures[0]), z: axis(state.z, null), as: state.as === "size" ? "size" : "color", tell,
  };
  made.passes = parallel.passes(made, state.brush);
  made.plain = plain;
  return made;
}

function redraw({ sliding = false } = {}) {
  if (!search.about) return;
  view = look();
  chart.draw(view);
  groups();
  legend();
  head();
  suggestions(byId("suggestions"), { ...view, figures: view.plain }, choose);
  if (!sliding) limits.draw([view.figures[0], ...costsOf(view.figures)], view.candidates, view.brief.limits, state.limits);
  if (!(sliding && document.activeElement?.closest("#detail"))) showDetail();
  tab();
  if (view.compared.length === 2) {
    const key = view.compared.map((c) => `${c.id}${c.state}${c.model}${c.ended}`).join();
    if (redraw.compared !== key) compare(byId("compare"), view.compared, { ...view, figures: view.figures }, { onclose: () => { state.compare = []; keep(); redraw(); }, onpick: choose });
    redraw.compared = key;
  } else {
    byId("compare").hidden = true;
    redraw.compared = "";
  }
  performance.clearMarks("drawn"); // benchmarks/view.py looks for it
  performance.mark("drawn");
}

function showDetail() {
  const c = view.picked;
  const key = c ? `${c.id} ${c.state} ${c.model} ${c.ended} ${view.compared.includes(c)}` : "";
  if (key === showDetail.key) return; // typing into the form is not disturbed by what arrives
  showDetail.key = key;
  detail(byId("detail"), c, view, { oncompare: take });
}

function tell(c) {
  const lines = [el("b", {}, c.id === 0 ? "the original model" : `candidate ${c.id}`), el("span", { class: `state ${c.state}` }, stateWords(c.state))];
  const rows = view.plain.filter((f) => f.get(c)).map((f) => {
    const figure = f.get(c), before = view.original && c.id ? f.get(view.original)?.value : null;
    return el("li", {}, `${f.label}: ${show(figure.value, f.unit)}${bandOf(figure, f.unit)}${figure.origin === "measured" ? "" : `, ${figure.origin}`}`,
      before && f.key !== "accuracy" ? el("span", { class: "dim" }, ` ${ratio(before, figure.value)}`) : null);
  });
  const steps = c.steps.map((_, i) => el("li", { class: "step" }, c.words.split(" → ")[i]));
  return [el("p", {}, ...lines.flatMap((line) => [line, " "])), el("ul", {}, rows), el("ul", {}, steps), c.reason && c.state !== "front" && c.state !== "dominated" ? el("p", { class: "reason" }, c.reason) : ""];
}

function groups() {
  const counts = Object.fromEntries(STATES.map((name) => [name, 0]));
  for (const c of view.candidates) if (c.id || c.state === "front") counts[c.state] = (counts[c.state] ?? 0) + 1;
  fill(byId("groups"), STATES.filter((name) => counts[name] && name !== "front").map((name) =>
    el("button", { type: "button", class: `chip ${name}`, "data-group": name, "aria-pressed": String(!view.hidden.has(name)), onclick: () => {
      state.hide = view.hidden.has(name) ? state.hide.filter((other) => other !== name) : [...state.hide, name];
      keep();
      redraw();
    } }, `${counts[name]} ${name === "over_budget" ? "break a limit" : stateWords(name)}`)));
}

function legend() {
  const parts = [el("span", {}, el("i", { class: "disc blue" }), "front"), el("span", {}, el("i", { class: "star" }, "★"), "original model"),
    el("span", {}, el("i", { class: "disc open" }), "hollow: modelled, not measured"), el("span", {}, el("i", { class: "ground" }), "forbidden"), el("span", { class: "dim" }, "bars: the band of a figure")];
  if (view.z) {
    const { low, high } = chart.third;
    const scale = el("span", { class: "scale" }, show(low, view.z.unit), el("canvas", { width: 120, height: 10 }), show(high, view.z.unit), ` ${view.z.label}`);
    const pen = scale.querySelector("canvas").getContext("2d");
    for (let i = 0; i < 120; i++) {
      pen.fillStyle = view.as === "size" ? getComputedStyle(document.body).color : ramp(i / 119);
      const tall = view.as === "size" ? 2 + (8 * i) / 119 : 10;
      pen.fillRect(i, (10 - tall) / 2, 1, tall);
    }
    parts.push(scale);
  }
  fill(byId("legend"), parts);
}

function head() {
  const { brief, front, original } = view, { about } = search;
  const tried = view.candidates.filter((c) => c.id).length;
  document.title = `${about.name} · autoshrink`;
  byId("name").textContent = about.name;
  byId("title").textContent = `${brief.target} on ${brief.hardware.name}`;
  const quiet = Date.now() - about.latest > 600000;
  byId("status").textContent = search.running ? (quiet ? `running, no news since ${ago(about.latest)}` : `running: ${tried} of ${brief.candidates}`) : about.status.toLowerCase();
  byId("status").className = `chip ${search.running ? "running" : "finished"}`;
  byId("run").href = mlflow(`/experiments/${about.experiment}/runs/${search.run}`);
  const c = view.knee;
  const gains = c && original ? costsOf(view.figures).filter((f) => f.get(c) && f.get(original)).slice(0, 2).map((f) => times(f.get(original).value, f.get(c).value, f.label)) : [];
  const narrowed = Object.keys(state.limits).length ? " within the narrower limits" : "";
  byId("summary").textContent = front.length
    ? `${front.length} of ${tried} candidates are on the front${narrowed}. Its knee, candidate ${c.id}${gains.length ? `: ${gains.join(", ")}` : ""}, at ${show(view.figures[0].get(c)?.value, view.figures[0].unit)} ${view.figures[0].label}.`
    : `None of ${tried} candidates meets the ${narrowed ? "narrower " : ""}limits.`;
}

function tab() {
  const names = ["table", "recipes", "time"];
  if (!names.includes(state.tab)) state.tab = "table";
  for (const name of names) {
    byId(name).hidden = state.tab !== name;
    byId(`tab-${name}`).setAttribute("aria-selected", String(state.tab === name));
    byId(`tab-${name}`).tabIndex = state.tab === name ? 0 : -1;
  }
  if (state.tab === "table") table.draw(view, state);
  if (state.tab === "recipes") parallel.draw(view, state);
  if (state.tab === "time") overTime.draw(search);
}

function selects() {
  const figures = figuresOf(search.candidates, search.about.brief);
  const option = (f) => el("option", { value: f.key }, f.label);
  for (const name of ["x", "y", "z"]) {
    const place = byId(name);
    if (place.options.length === figures.length + (name === "z" ? 1 : 0)) continue;
    fill(place, name === "z" ? el("option", { value: "" }, "none") : null, figures.map(option));
  }
  const known = new Set(figures.map((f) => f.key));
  defaults = { x: figures[1]?.key ?? "accuracy", y: "accuracy", z: "", as: "color", tab: "table", show: "front", find: "", sort: "", hide: [] };
  for (const name of ["x", "y", "z"]) { if (!known.has(state[name])) state[name] = defaults[name]; byId(name).value = state[name]; }
  byId("as").value = state.as === "size" ? "size" : "color";
}

async function follow() {
  let pause = IDLE;
  try {
    const before = search.byRun.size;
    const changed = await search.refresh();
    if (changed !== null) {
      byId("wait").hidden = true;
      byId("main").hidden = false;
      selects();
      redraw();
      const fresh = search.byRun.size - before;
      if (before && fresh > 0) toast(`${fresh} new ${fresh === 1 ? "candidate" : "candidates"}`);
    }
    pause = search.running && !document.hidden ? LIVE : IDLE;
  } catch (error) {
    if (!search.about) { byId("wait").textContent = error.message; byId("wait").classList.add("reason"); }
    else toast(`No answer from the server: ${error.message}`);
  }
  setTimeout(follow, pause);
}

for (const name of ["x", "y", "z", "as"]) byId(name).addEventListener("change", (event) => { state[name] = event.target.value; keep(); redraw(); });
for (const [name, mode] of [["zoom", "zoom"], ["pan", "pan"]]) {
  byId(name).addEventListener("click", () => {
    chart.drags(mode);
    for (const other of ["zoom", "pan"]) byId(other).setAttribute("aria-pressed", String(other === name));
  });
}
byId("all").addEventListener("click", () => chart.reset());
byId("reset").addEventListener("click", () => { state.limits = {}; chart.key = ""; keep(); redraw(); });
byId("tabs").addEventListener("click", (event) => {
  const button = event.target.closest("[role=tab]");
  if (button) { state.tab = button.id.slice(4); keep(); tab(); }
});
byId("tabs").addEventListener("keydown", (event) => {
  const names = ["table", "recipes", "time"], step = { ArrowRight: 1, ArrowLeft: 2 }[event.key];
  if (!step) return;
  state.tab = names[(names.indexOf(state.tab) + step) % 3];
  keep();
  tab();
  byId(`tab-${state.tab}`).focus();
});
window.addEventListener("hashchange", () => { state = address.read(); if (search.about) { selects(); redraw(); } });
window.addEventListener("theme", () => redraw());

state = address.read();
follow();
