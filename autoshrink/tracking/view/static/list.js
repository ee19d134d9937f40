// The list of all searches that MLflow holds and the reader may see.

import { address, ask, mlflow } from "./data.js";
import { byId, el, fill } from "./dom.js";
import { ago, show } from "./units.js";

const UNITS = { latency: "s", memory: "B", size: "B", energy: "J" };
let found = [];

const fraction = (search) => search.brief.limits.floor >= 0 && search.brief.limits.floor <= 1;
const stateOf = (search) => (search.status === "RUNNING" ? "running" : search.status.toLowerCase());

function bests(search) {
  const names = (Array.isArray(search.brief.objectives) ? search.brief.objectives : []).filter((name) => Number.isFinite(search.metrics[`best.${name}`]));
  if (!names.length) return el("span", { class: "dim" }, search.status === "RUNNING" ? "nothing inside the limits yet" : "nothing inside the limits");
  return names.map((name) => {
    const value = search.metrics[`best.${name}`], before = search.brief.limits.baseline?.[name];
    const gain = before > 0 && value > 0 ? ` ${(before / value).toFixed(1)}×` : "";
    return el("span", { class: "best" }, el("span", { class: "dim" }, `${name} `), show(value, name === "accuracy" ? (fraction(search) ? "%" : "1") : UNITS[name] ?? ""), el("span", { class: "dim" }, gain));
  });
}

function draw() {
  const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const [state, hardware] = [byId("state").value, byId("hardware").value];
  const shown = found.filter((s) => (!state || stateOf(s) === state) && (!hardware || s.brief.hardware.name === hardware)
    && words.every((word) => [s.name, s.brief.target, s.brief.model, s.brief.hardware.name, s.brief.hardware.backend].join(" ").toLowerCase().includes(word)));
  byId("count").textContent = `${shown.length} of ${found.length}`;
  const heads = ["search", "target", "model", "hardware", "state", "front", "candidates", "best on the front", "begun", ""];
  fill(byId("searches"), shown.length ? el("div", { class: "wide card" }, el("table", { class: "searches" },
    el("thead", {}, el("tr", {}, heads.map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, shown.map((s) => el("tr", { "data-search": s.name },
      el("th", { scope: "row" }, el("a", { href: address(`searches/${s.run}`) }, s.name || s.run)),
      el("td", {}, s.brief.target), el("td", {}, el("code", {}, s.brief.model)), el("td", {}, s.brief.hardware.name, el("span", { class: "dim" }, ` ${s.brief.hardware.backend}`)),
      el("td", {}, el("span", { class: `chip ${stateOf(s)}` }, stateOf(s))),
      el("td", { class: "figure" }, String(s.metrics.front ?? "–")), el("td", { class: "figure" }, `${s.metrics.candidates ?? "–"} of ${s.brief.candidates}`),
      el("td", { class: "bests" }, bests(s)), el("td", { class: "dim" }, s.start ? ago(s.start) : ""),
      el("td", {}, el("a", { href: mlflow(`/experiments/${s.experiment}/runs/${s.run}`), "aria-label": `the run of ${s.name} in MLflow` }, "run")))))))
    : el("p", { class: "note" }, found.length ? "No search matches." : "No search yet: autoshrink search target.yaml"));
}

async function refresh() {
  try {
    found = (await ask("api/searches")).searches.filter((s) => s.brief?.hardware && s.brief?.limits);
    const names = [...new Set(found.map((s) => s.brief.hardware.name))].sort();
    const chosen = byId("hardware").value;
    fill(byId("hardware"), el("option", { value: "" }, "any"), names.map((name) => el("option", { value: name }, name)));
    byId("hardware").value = names.includes(chosen) ? chosen : "";
    draw();
  } catch (error) {
    fill(byId("searches"), el("p", { class: "reason" }, error.message));
  }
  setTimeout(refresh, found.some((s) => s.status === "RUNNING") && !document.hidden ? 3000 : 20000);
}

const given = new URLSearchParams(location.hash.slice(1));
for (const id of ["filter", "state", "hardware"]) {
  byId(id).value = given.get(id) ?? "";
  byId(id).addEventListener("input", () => {
    const out = new URLSearchParams(["filter", "state", "hardware"].filter((name) => byId(name).value).map((name) => [name, byId(name).value]));
    history.replaceState(null, "", out.size ? `#${out}` : location.pathname);
    draw();
  });
}
byId("home").href = mlflow("/");
refresh();
