// Filters, ranges and choices without a reload: the same links and forms, their page fetched and put in place.

import { dress } from "./format.js";
import { morph } from "./patch.js";

const TYPING_MS = 250;
let latest = 0;

/** Listens to links and forms marked `data-swap`; calls `arrived(query)` when a new view is in place. */
export function listen(arrived, failed) {
  const go = (url, remember) => swap(url, remember, arrived, failed);
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-swap]");
    if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
    if (new URL(link.href).pathname !== location.pathname) return;
    event.preventDefault();
    go(link.href, true);
  });
  const submit = (form, remember) => {
    const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
    go(`${form.getAttribute("action")}${query.size ? `?${query}` : ""}`, remember);
  };
  document.addEventListener("submit", (event) => {
    const form = event.target.closest("form[data-swap]");
    if (!form) return;
    event.preventDefault();
    submit(form, true);
  });
  let typing = 0;
  document.addEventListener("input", (event) => {
    // A form that is costly to answer is sent when its viewer says so.
    const form = event.target.closest('form[data-swap]:not([data-swap="submit"])');
    if (!form) return;
    clearTimeout(typing);
    typing = setTimeout(() => submit(form, false), event.target.type === "search" ? TYPING_MS : 0);
  });
  // What somebody has done here shows at once, also while the stream is held or lost.
  document.addEventListener("acted", () => go(location.href, null));
  addEventListener("popstate", () => go(location.href, null));
}

/** `remember`: true adds to the history, false replaces, null leaves it. */
async function swap(url, remember, arrived, failed) {
  const turn = (latest += 1);
  document.getElementById("live").setAttribute("aria-busy", "true");
  try {
    const response = await fetch(url, { headers: { accept: "text/html" } });
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    // Only the last request counts when several are under way.
    if (turn !== latest) return;
    for (const selector of [".controls", "#live"]) {
      const fresh = page.querySelector(selector);
      const old = document.querySelector(selector);
      dress(fresh);
      morph(old, document.adoptNode(fresh));
    }
    if (remember === true) history.pushState(null, "", url);
    else if (remember === false) history.replaceState(null, "", url);
    arrived(document.getElementById("live").dataset.query);
  } catch (error) {
    if (turn === latest) failed(error);
  } finally {
    document.getElementById("live").removeAttribute("aria-busy");
  }
}
