// Picking: the candidate becomes a version of a registered model.

import { ask, mlflow } from "./data.js";
import { el, fill, toast } from "./dom.js";

const kept = { model: null, alias: "", candidate: null, prefer: "" };

// What a candidate was suggested as, so that its successor on other hardware is chosen alike.
export function suggested(c, prefer) { Object.assign(kept, { candidate: c.id, prefer }); }

export function pickForm(c, search) {
  if (!c.model) {
    const line = `autoshrink pick ${search.about.name} ${c.id} --register MODEL`;
    return el("p", { class: "note" }, c.outcome === "measured"
      ? ["MLflow gets the files of the front when a search ends. Any other candidate is picked where the search ran: ", el("code", {}, line)]
      : "It has no files to pick.");
  }
  kept.model ??= search.about.brief.target.replace(/[^\w.-]+/g, "-");
  const model = el("input", { id: "pick-model", value: kept.model, required: true, autocomplete: "off", oninput: () => { kept.model = model.value; } });
  const alias = el("input", { id: "pick-alias", value: kept.alias, placeholder: "production", autocomplete: "off", oninput: () => { kept.alias = alias.value; } });
  const button = el("button", { type: "submit", class: "main", id: "pick" }, "Pick this model");
  const answer = el("div", { class: "answer", role: "status", "aria-live": "polite" });
  const form = el("form", { class: "pick" },
    el("label", { for: "pick-model" }, "Register as"), model, el("label", { for: "pick-alias" }, "Alias"), alias, button, answer);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      const body = JSON.stringify({ run: c.run, model: model.value.trim(), alias: alias.value.trim() || null, prefer: kept.candidate === c.id ? kept.prefer : "" });
      const picked = await ask("api/pick", { method: "POST", headers: { "Content-Type": "application/json" }, body });
      const page = mlflow(`/models/${encodeURIComponent(picked.model)}/versions/${picked.version}`);
      fill(answer,
        el("p", {}, "Registered as ", el("a", { href: page }, `version ${picked.version} of ${picked.model}`), picked.alias ? `, alias ${picked.alias}.` : "."),
        el("pre", { id: "line" }, picked.line),
        el("button", { type: "button", class: "quiet", onclick: () => copy(picked.line) }, "Copy the line"));
    } catch (error) {
      fill(answer, el("p", { class: "reason" }, error.message));
    }
    button.disabled = false;
  });
  return form;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied");
  } catch {
    toast("The browser does not let a page copy here: mark the line and copy it");
  }
}
