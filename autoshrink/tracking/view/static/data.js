// What the server knows of a search, read once and then followed.

const base = new URL("../", import.meta.url); // …/autoshrink/
export const address = (path) => new URL(path, base).href;
export const mlflow = (path) => new URL(`../#${path}`, base).href;

export async function ask(path, options = {}) {
  const answer = await fetch(address(path), { credentials: "same-origin", ...options });
  const read = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(read.error || (read.detail ? "the server does not understand this" : `the server answers ${answer.status}`));
  return read;
}

const number = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);
const object = (value) => (value && typeof value === "object" && !Array.isArray(value) ? value : {});
const numbers = (given) => Object.fromEntries(Object.entries(object(given)).filter(([, value]) => number(value) !== null));

// Anybody who may write to MLflow may have written a point: only what is as expected is taken over.
function candidate(point, run, model, ended) {
  const metrics = {};
  for (const [name, figure] of Object.entries(object(point.metrics))) {
    if (!Array.isArray(figure) || figure.slice(0, 3).some((x) => number(x) === null)) continue;
    metrics[name] = { value: figure[0], low: figure[1], high: figure[2], origin: String(figure[3]) };
  }
  const steps = (Array.isArray(point.steps) ? point.steps : []).map(object).filter((step) => typeof step.kind === "string");
  const accuracy = numbers(point.accuracy);
  return {
    id: number(point.id) ?? -1, run, accuracy, score: accuracy.test ?? accuracy.validation ?? null, model, ended, metrics, steps,
    key: String(point.key ?? ""), outcome: String(point.outcome ?? ""), reason: String(point.reason ?? ""),
    facts: numbers(point.facts), seconds: numbers(point.seconds),
    words: steps.map(words).join(" → ") || (point.id === 0 ? "the original model" : "no step"),
  };
}

const short = (value) => (typeof value === "number" ? String(Number(value.toPrecision(3))) : String(value));

export function words(step) {
  const settings = Object.entries(step).filter(([name]) => name !== "kind").map(([name, value]) => `${name}=${short(value)}`);
  return settings.length ? `${step.kind}(${settings.join(", ")})` : step.kind;
}

export class Search {
  constructor(run) {
    this.run = run;
    this.byRun = new Map();
    this.about = null;
  }

  // In the order of their ids; the same list until something new comes in.
  get candidates() {
    this.list ??= [...this.byRun.values()].sort((a, b) => a.id - b.id);
    return this.list;
  }
  get running() { return this.about?.status === "RUNNING"; }

  // Reads what is new; gives how many candidates came or changed, and null when nothing did.
  async refresh() {
    const { count = -1, latest = 0, status = "" } = this.about ?? {};
    const query = new URLSearchParams({ count, latest, status });
    const read = await ask(`api/searches/${this.run}?${query}`);
    if (read.unchanged) return null;
    const { runs, ended, models, points, ...about } = read;
    this.list = null;
    if (about.whole) this.byRun.clear();
    runs.forEach((run, i) => this.byRun.set(run, candidate(points[i], run, models[i], ended[i])));
    const lost = about.count !== this.byRun.size && !about.whole;
    this.about = lost ? { ...about, count: -1 } : about; // something slipped through: everything is read next time
    return runs.length;
  }
}
