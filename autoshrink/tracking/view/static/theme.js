// Light or dark: as the system says, or as was chosen here. Runs before anything is drawn.
"use strict";
(() => {
  const next = { auto: "light", light: "dark", dark: "auto" };
  const chosen = () => {
    try { return localStorage.getItem("autoshrink.theme") || "auto"; } catch { return "auto"; }
  };
  const apply = () => {
    const dark = chosen() === "dark" || (chosen() === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    const button = document.getElementById("theme");
    if (button) button.textContent = `Theme: ${chosen()}`;
    window.dispatchEvent(new Event("theme"));
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
  document.addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme").addEventListener("click", () => {
      try { localStorage.setItem("autoshrink.theme", next[chosen()]); } catch { /* a browser that keeps nothing */ }
      apply();
    });
  });
  apply();
})();
