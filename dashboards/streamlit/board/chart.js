// Draws a Plotly figure in one element that stays: new data moves into it, so that nothing flickers and zoom is kept.

// The tokens of Millrace's own page (crates/millrace-dashboard/assets/millrace.css); a figure names them as "var(--name)".
const PALETTES = {
  light: {
    ink: "#191b1d", muted: "#585d63", faint: "#a3a8ad", line: "#e2e2dd", grid: "#ecece8", surface: "#ffffff",
    c1: "#0b6e99", c2: "#bf5407", c3: "#08785a", c4: "#74509a", c1soft: "rgba(11, 110, 153, 0.09)",
    c2soft: "rgba(191, 84, 7, 0.5)", link: "rgba(88, 93, 99, 0.2)",
    critical: "#ab1f2d", high: "#b34c05", medium: "#7a6000", low: "#585d63",
  },
  dark: {
    ink: "#e9e9e6", muted: "#a4aab1", faint: "#6b7178", line: "#2a2e33", grid: "#23272b", surface: "#17191c",
    c1: "#5bb8df", c2: "#f29650", c3: "#4fcb9f", c4: "#b796da", c1soft: "rgba(91, 184, 223, 0.12)",
    c2soft: "rgba(242, 150, 80, 0.5)", link: "rgba(164, 170, 177, 0.2)",
    critical: "#ff8086", high: "#f29650", medium: "#dcbc52", low: "#a4aab1",
  },
};
const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
// How often the theme is looked at: Streamlit tells nobody when a viewer changes it.
const THEME_LOOK_MS = 1000;

function loaded(address) {
  window.millracePlotly ??= new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = () => done(window.Plotly);
    script.onerror = () => failed(new Error(`${address} cannot be loaded; reload the page`));
    document.head.append(script);
  });
  return window.millracePlotly;
}

function theme(element) {
  const probe = document.createElement("canvas").getContext("2d");
  probe.fillStyle = getComputedStyle(element).getPropertyValue("--st-background-color").trim() || "#ffffff";
  probe.fillRect(0, 0, 1, 1);
  const [red, green, blue] = probe.getImageData(0, 0, 1, 1).data;
  return red + green + blue < 384 ? "dark" : "light";
}

async function draw(host) {
  const { figure, empty, height, alt, library, width_min: widthMin } = host.wanted;
  const [plot, words] = [host.querySelector(".plot"), host.querySelector(".none")];
  host.style.height = `${height}px`;
  plot.style.minWidth = `${widthMin}px`;
  words.textContent = figure ? "" : empty;
  plot.style.visibility = figure ? "visible" : "hidden";
  plot.setAttribute("role", "img");
  plot.setAttribute("aria-label", alt);
  host.drawnTheme = theme(host);
  if (!figure) return;
  const Plotly = await loaded(library);
  // While the library was on its way newer data may have come, or the chart may have gone.
  if (host.wanted?.figure !== figure || !host.isConnected) return;
  const palette = PALETTES[host.drawnTheme];
  const { data, layout } = JSON.parse(figure.replace(/"var\(--(\w+)\)"/g, (_, name) => `"${palette[name] ?? name}"`));
  await Plotly.react(plot, data, { ...layout, height, autosize: true }, CONFIG);
}

export default function ({ data, parentElement }) {
  const host = parentElement.querySelector(".millrace-chart");
  const say = (problem) => { host.querySelector(".none").textContent = problem.message; };
  host.wanted = data;
  draw(host).catch(say);
  host.look ??= setInterval(() => {
    if (host.isConnected && host.drawnTheme !== theme(host)) draw(host).catch(say);
  }, THEME_LOOK_MS);
  return () => {
    clearInterval(host.look);
    host.look = undefined;
    host.wanted = undefined;
    window.Plotly?.purge(host.querySelector(".plot"));
  };
}
