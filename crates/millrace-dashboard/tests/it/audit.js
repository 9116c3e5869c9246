// What every page must hold to: names for controls, one id once, headings in order, readable colours (WCAG 2.2 AA).
(() => {
  const problems = [];
  const shown = (element) => element.getClientRects().length > 0 && getComputedStyle(element).visibility !== "hidden";
  const describe = (element) => `${element.tagName.toLowerCase()}.${element.className?.baseVal ?? element.className} "${element.textContent.trim().slice(0, 40)}"`;
  for (const element of document.querySelectorAll("a, button, input, select, summary, [role=img], [role=region]")) {
    if (!shown(element)) continue;
    const labelled = element.labels?.length || element.getAttribute("aria-label") || element.title;
    if (!labelled && !element.textContent.trim()) problems.push(`no name: ${element.outerHTML.slice(0, 120)}`);
  }
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  const twice = ids.filter((id, at) => ids.indexOf(id) !== at && !id.startsWith("clip") && !document.getElementById(id)?.closest(".plot"));
  if (twice.length) problems.push(`ids used twice: ${[...new Set(twice)]}`);
  let level = 0;
  for (const heading of document.querySelectorAll("h1, h2, h3, h4")) {
    const next = Number(heading.tagName[1]);
    if (next > level + 1) problems.push(`heading jumps: ${describe(heading)}`);
    level = next;
  }
  const channel = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const flat = (color) => {
    // Any colour notation, by painting it.
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = flat(getComputedStyle(at).backgroundColor);
      if (color[3] > 250) return color;
    }
    return [255, 255, 255];
  };
  const seen = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !shown(element) || element.closest("svg, .vh, script, noscript, [aria-hidden=true]")) continue;
    const style = getComputedStyle(element);
    const [a, b] = [luminance(flat(style.color)), luminance(behind(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (contrast < (large ? 3 : 4.5) && !seen.has(element.className)) {
      seen.add(element.className);
      problems.push(`contrast ${contrast.toFixed(2)}: ${describe(element)}`);
    }
  }
  return problems;
})();
