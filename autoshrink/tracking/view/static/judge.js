// The front, by the same rules as autoshrink.core.front: limits hold against the pessimistic end of a band; of equal
// candidates the first is on the front.

// Worked out once where candidates are read: this is asked ten thousand times whenever a slider moves.
export const scoreOf = (c) => (c.score === undefined ? c.accuracy.test ?? c.accuracy.validation ?? null : c.score);

export const cost = (c, name) => {
  if (name === "accuracy") {
    const score = scoreOf(c);
    return score === null ? Infinity : -score;
  }
  return c.metrics[name] ? c.metrics[name].value : Infinity;
};

export const floorOf = (c, limits) =>
  c.accuracy.test === undefined || c.accuracy.test === null || limits.test_floor === null ? limits.floor : limits.test_floor;

export function broken(c, limits) {
  const names = [];
  for (const [name, limit] of Object.entries(limits.costs)) {
    if (!c.metrics[name] || c.metrics[name].high > limit) names.push(name);
  }
  const score = scoreOf(c);
  if (score === null || score < floorOf(c, limits)) names.push("accuracy");
  return names;
}

// The declared limits, and what the sliders make narrower of them.
export function tightened(limits, sliders) {
  const costs = { ...limits.costs };
  for (const [name, value] of Object.entries(sliders)) {
    if (name !== "accuracy") costs[name] = Math.min(value, costs[name] ?? Infinity);
  }
  const least = sliders.accuracy ?? -Infinity;
  return {
    ...limits,
    costs,
    floor: Math.max(limits.floor, least),
    test_floor: limits.test_floor === null ? null : Math.max(limits.test_floor, least),
  };
}

// Gives each candidate its state, and the front: the cheapest first.
export function judge(candidates, objectives, limits) {
  const inside = [];
  for (const c of candidates) {
    c.broken = [];
    if (c.outcome !== "measured") { c.state = c.outcome; continue; }
    c.broken = broken(c, limits);
    if (c.broken.length) { c.state = "over_budget"; continue; }
    c.point = objectives.map((name) => cost(c, name));
    if (c.point.includes(Infinity)) { c.state = "failed"; continue; }
    c.state = "dominated";
    inside.push(c);
  }
  // In this order nobody is dominated by somebody who comes later.
  inside.sort((a, b) => {
    for (let i = 0; i < objectives.length; i++) if (a.point[i] !== b.point[i]) return a.point[i] - b.point[i];
    return a.id - b.id;
  });
  const front = [];
  for (const c of inside) {
    if (!front.some((other) => other.point.every((x, i) => x <= c.point[i]))) front.push(c);
  }
  for (const c of front) c.state = "front";
  const first = objectives.find((name) => name !== "accuracy") ?? "accuracy";
  return front.sort((a, b) => cost(a, first) - cost(b, first) || a.id - b.id);
}

export function knee(front, objectives) {
  if (!front.length) return null;
  const points = front.map((c) => objectives.map((name) => cost(c, name)));
  const lows = objectives.map((_, i) => Math.min(...points.map((p) => p[i])));
  const highs = objectives.map((_, i) => Math.max(...points.map((p) => p[i])));
  const far = points.map((p) => Math.hypot(...p.map((x, i) => (highs[i] > lows[i] ? (x - lows[i]) / (highs[i] - lows[i]) : 0))));
  return front[far.indexOf(Math.min(...far))];
}

export function best(front, name) {
  const known = front.filter((c) => Number.isFinite(cost(c, name)));
  return known.reduce((one, c) => (one && (cost(one, name) - cost(c, name) || one.id - c.id) <= 0 ? one : c), null);
}
