// Puts pushed HTML in its place: by key, changing only what differs, so that focus, open details and selections stay.

import { dress, showData, showTime } from "./format.js";

const still = matchMedia("(prefers-reduced-motion: reduce)");
const TWEEN_MS = 420;
const tweens = new WeakMap();

/** The element a piece of HTML describes. */
function parsed(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content.firstElementChild;
}

/** Applies a section's change to its container. `whole`: the change is all there is. */
export function patchSection(container, change, whole) {
  const children = new Map([...container.children].map((child) => [child.dataset.key, child]));
  const set = change.set ?? [];
  const leaving = whole ? [...children.keys()].filter((key) => !set.some(([kept]) => kept === key)) : (change.remove ?? []);
  for (const key of leaving) {
    children.get(key)?.remove();
    children.delete(key);
  }
  const first = change.at === "start" ? container.firstElementChild : null;
  for (const [key, html] of set) {
    const fresh = parsed(html);
    if (!fresh) continue;
    dress(fresh);
    const old = children.get(key);
    if (old) {
      morph(old, fresh);
    } else {
      if (!whole) fresh.classList.add("arrived");
      container.insertBefore(fresh, first);
      children.set(key, fresh);
    }
  }
  const order = change.order ?? (whole ? set.map(([key]) => key) : null);
  if (order) arrange(container, order.map((key) => children.get(key)).filter(Boolean));
}

/** Moves children into this order, touching only those out of place. */
function arrange(container, wanted) {
  let at = container.firstElementChild;
  for (const child of wanted) {
    if (child === at) at = at.nextElementSibling;
    else container.insertBefore(child, at);
  }
}

/** Changes `old` into `fresh`, keeping every node that can stay. */
export function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
    old.replaceWith(fresh);
    return;
  }
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE || isOurs(old)) return;
  const before = old.nodeName === "DATA" ? old.getAttribute("value") : null;
  if (!old.hasAttribute("data-chart")) attributes(old, fresh);
  if (before !== null && before !== old.getAttribute("value") && old.closest("[data-tween]")) {
    tween(old, Number(before), Number(old.getAttribute("value")));
    return;
  }
  if (old.nodeName === "DATA" && tweens.has(old)) return;
  if (old.nodeName === "TIME") {
    showTime(old);
    return;
  }
  children(old, fresh);
}

/** Parts that scripts draw or switch, and ages that tick by themselves. */
function isOurs(element) {
  return element.hasAttribute("data-owned") || element.classList.contains("js") || element.classList.contains("fresh");
}

function attributes(old, fresh) {
  for (const { name, value } of [...fresh.attributes]) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    // Opened by the viewer, not by us.
    if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
  }
}

function children(old, fresh) {
  if (fresh.children.length && [...fresh.children].every((child) => child.dataset?.key !== undefined)) {
    keyed(old, fresh);
    return;
  }
  const wanted = [...fresh.childNodes];
  const present = [...old.childNodes];
  wanted.forEach((node, at) => {
    if (at < present.length) morph(present[at], node);
    else old.append(node);
  });
  present.slice(wanted.length).forEach((node) => node.remove());
}

function keyed(old, fresh) {
  const present = new Map([...old.children].map((child) => [child.dataset.key, child]));
  const wanted = [...fresh.children].map((child) => {
    const known = present.get(child.dataset.key);
    if (!known) return child;
    present.delete(child.dataset.key);
    morph(known, child);
    return known;
  });
  for (const child of present.values()) child.remove();
  arrange(old, wanted);
}

/** Lets a number run to its new value. */
function tween(element, from, to) {
  if (still.matches || document.hidden || !Number.isFinite(from) || !Number.isFinite(to)) {
    showData(element);
    return;
  }
  const start = performance.now();
  const shown = tweens.get(element)?.shown ?? from;
  const state = { shown };
  tweens.set(element, state);
  const step = (now) => {
    if (tweens.get(element) !== state) return;
    const part = Math.min(1, (now - start) / TWEEN_MS);
    state.shown = shown + (to - shown) * (1 - (1 - part) ** 3);
    showData(element, part < 1 ? (element.dataset.unit === "share" ? state.shown : Math.round(state.shown)) : to);
    if (part < 1) requestAnimationFrame(step);
    else tweens.delete(element);
  };
  requestAnimationFrame(step);
}
