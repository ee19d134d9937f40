// The figures that candidates can be compared by: accuracy, costs, counts and times.

import { scoreOf } from "./judge.js";

const UNITS = { latency: "s", memory: "B", size: "B", energy: "J" };
const NAMES = { macs: "MACs", parameters: "parameters", nonzero: "non-zero weights" };

// Gives a list of {key, label, unit, better: 1 when more is better, get(candidate) → {value, low, high, origin} or null}.
export function figuresOf(candidates, brief) {
  if (figuresOf.known?.candidates !== candidates) figuresOf.known = { candidates, figures: find(candidates, brief) };
  return figuresOf.known.figures;
}

function find(candidates, brief) {
  const known = { metrics: new Set(), facts: new Set(), seconds: new Set() };
  for (const c of candidates) for (const [kind, names] of Object.entries(known)) for (const name in c[kind]) names.add(name);
  const scores = candidates.map(scoreOf).filter((x) => x !== null);
  const fraction = brief.limits.floor >= 0 && brief.limits.floor <= 1 && scores.every((x) => x >= 0 && x <= 1);
  const exact = (value) => (value === undefined || value === null ? null : { value, low: value, high: value, origin: "measured" });
  const order = ["latency", "size", "memory", "energy"];
  const rank = (name) => (order.includes(name) ? order.indexOf(name) : order.length);
  const costs = [...known.metrics].sort((a, b) => rank(a) - rank(b));
  return [
    { key: "accuracy", label: brief.metric === "accuracy" ? "accuracy" : `accuracy (${brief.metric})`, unit: fraction ? "%" : "1", better: 1, get: (c) => exact(scoreOf(c)) },
    ...costs.map((name) => ({ key: name, label: name, unit: UNITS[name] ?? "", better: -1, get: (c) => c.metrics[name] ?? null })),
    ...[...known.facts].map((name) => ({ key: `facts.${name}`, label: NAMES[name] ?? name, unit: "", better: -1, get: (c) => exact(c.facts[name]) })),
    ...[...known.seconds].map((name) => ({ key: `seconds.${name}`, label: `time to ${name}`, unit: "s", better: -1, get: (c) => exact(c.seconds[name]) })),
  ];
}

export const costsOf = (figures) => figures.filter((f) => f.key !== "accuracy" && !f.key.includes("."));
