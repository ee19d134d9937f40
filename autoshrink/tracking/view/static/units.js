// Figures for people: three digits and a fitting unit, as the command line prints them.

const SCALES = {
  s: [["s", 1], ["ms", 1e-3], ["µs", 1e-6], ["ns", 1e-9]],
  B: [["GB", 1e9], ["MB", 1e6], ["kB", 1e3], ["B", 1]],
  J: [["J", 1], ["mJ", 1e-3], ["µJ", 1e-6], ["nJ", 1e-9]],
  "": [["G", 1e9], ["M", 1e6], ["k", 1e3], ["", 1]],
};

const trimmed = (value, digits) => {
  if (value === 0) return "0";
  const rounded = Number(value.toPrecision(digits));
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(Math.abs(rounded))));
  return rounded.toFixed(Math.min(decimals, 6));
};

export function show(value, unit) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (unit === "%") return `${(100 * value).toFixed(2)} %`;
  if (unit === "1") return trimmed(value, 4);
  const rounded = Number(value.toPrecision(3));
  const steps = SCALES[unit] || SCALES[""];
  const [suffix, factor] = steps.find(([, size]) => Math.abs(rounded) >= size) || steps[steps.length - 1];
  if (suffix === "B" || (unit === "" && suffix === "" && Number.isInteger(rounded))) return `${rounded / factor} ${suffix}`.trim();
  return `${trimmed(rounded / factor, 3)} ${suffix}`.trim();
}

export function band(figure, unit) {
  if (figure.low === figure.high) return "exact";
  return `${show(figure.low, unit)} … ${show(figure.high, unit)}`;
}

export const bandOf = (figure, unit) => (figure.low === figure.high ? "" : ` (${band(figure, unit)})`);

// The unit that an axis is labelled in, fitting the middle of what it shows.
export function axisUnit(low, high, unit) {
  if (unit === "%") return ["%", 0.01];
  if (unit === "1") return ["", 1];
  const middle = low > 0 ? Math.sqrt(low * high) : high / 2;
  const steps = SCALES[unit] || SCALES[""];
  return steps.find(([, size]) => Math.abs(middle) >= size) || steps[steps.length - 1];
}

export function ratio(before, after) {
  if (!(before > 0) || !(after > 0)) return "";
  const times = before / after;
  return `${times >= 100 ? times.toFixed(0) : times.toFixed(times >= 10 ? 1 : 2)}×`;
}

const BETTER = { latency: ["faster", "slower"], size: ["smaller", "larger"] };

export function times(before, after, name) {
  const [better, worse] = BETTER[name] ?? [`less ${name}`, `more ${name}`];
  if (Math.abs(before / after - 1) < 0.05) return `${name} unchanged`;
  return before > after ? `${ratio(before, after)} ${better}` : `${ratio(after, before)} ${worse}`;
}

// Of lists that are too long to be arguments.
export const least = (values) => values.reduce((one, other) => (other < one ? other : one), Infinity);
export const most = (values) => values.reduce((one, other) => (other > one ? other : one), -Infinity);

export function ago(ms) {
  const seconds = Math.max(0, (Date.now() - ms) / 1000);
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h ago`;
  return new Date(ms).toISOString().slice(0, 10);
}
