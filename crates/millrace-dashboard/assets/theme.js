// Applies the chosen theme before the first paint, and switches it: a classic script, so that nothing flashes.
"use strict";
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const stored = () => {
    try {
      return localStorage.getItem("millrace-theme");
    } catch {
      return null; // Storage may be forbidden; the system's choice then stands.
    }
  };
  const apply = () => {
    const chosen = stored();
    root.dataset.theme = chosen ?? (dark.matches ? "dark" : "light");
    root.dataset.js = "";
    document.dispatchEvent(new Event("millrace:theme"));
  };
  apply();
  dark.addEventListener("change", apply);
  window.millraceSwitchTheme = () => {
    const next = root.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("millrace-theme", next);
    } catch {
      // Without storage the choice lasts as long as the page.
    }
    root.dataset.theme = next;
    document.dispatchEvent(new Event("millrace:theme"));
  };
})();
