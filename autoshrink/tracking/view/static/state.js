// What is chosen on the page, kept in its address: a link shows somebody else the same.

const LISTS = ["hide", "compare", "axes"];

export function read() {
  const given = new URLSearchParams(location.hash.slice(1));
  const state = { x: "", y: "", z: "", as: "color", tab: "table", pick: null, show: "front", find: "", sort: "", limits: {}, brush: {} };
  for (const name of ["x", "y", "z", "as", "tab", "show", "find", "sort"]) if (given.has(name)) state[name] = given.get(name);
  for (const name of LISTS) state[name] = given.get(name)?.split(",").filter(Boolean) ?? (name === "hide" ? [] : []);
  state.compare = state.compare.map(Number).filter(Number.isInteger).slice(0, 2);
  state.pick = given.has("pick") && Number.isInteger(Number(given.get("pick"))) ? Number(given.get("pick")) : null;
  for (const [key, value] of given) {
    if (key.startsWith("limit.") && Number.isFinite(Number(value))) state.limits[key.slice(6)] = Number(value);
    if (key.startsWith("brush.")) {
      const ends = value.split("~").map(Number);
      if (ends.length === 2 && ends.every(Number.isFinite)) state.brush[key.slice(6)] = ends;
    }
  }
  return state;
}

export function write(state, defaults) {
  const out = new URLSearchParams();
  for (const name of ["x", "y", "z", "as", "tab", "show", "find", "sort"]) if (state[name] !== defaults[name]) out.set(name, state[name]);
  for (const name of LISTS) if (state[name].length && String(state[name]) !== String(defaults[name] ?? "")) out.set(name, state[name].join(","));
  if (state.pick !== null) out.set("pick", state.pick);
  for (const [name, value] of Object.entries(state.limits)) out.set(`limit.${name}`, Number(value.toPrecision(6)));
  for (const [name, ends] of Object.entries(state.brush)) out.set(`brush.${name}`, ends.map((x) => Number(x.toPrecision(5))).join("~"));
  const text = out.toString();
  history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
}
