"use strict";
// Unpacks plotly.js, draws the figures, and keeps their text readable in the dark and in print.
(async () => {
  const packed = atob(document.getElementById("plotly").textContent.trim());
  const bytes = Uint8Array.from(packed, (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);

  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const inks = (isDark) => {
    const text = isDark ? "#e9ebee" : "#17191c";
    const line = isDark ? "#363b43" : "#d9dce1";
    return {
      "font.color": text,
      "xaxis.gridcolor": line, "xaxis.linecolor": line, "xaxis.zerolinecolor": line,
      "yaxis.gridcolor": line, "yaxis.linecolor": line, "yaxis.zerolinecolor": line,
    };
  };
  const places = Object.keys(figures).filter((id) => document.getElementById(id));
  // On a phone the legend has an entry a line: the figure grows by it, so that the plot does not shrink.
  const LEGEND_LINE = 19, NARROW = 520, PRINT_WIDTH = 640, PRINT_HEIGHT = 0.75;
  const height = (id, width) => {
    const { data, layout } = figures[id];
    const lines = data.length > 1 && width < NARROW ? data.filter((t) => t.visible !== false).length : 0;
    return layout.height + LEGEND_LINE * Math.max(0, lines - 2);
  };
  const fit = () => Promise.all(places.map((id) => {
    const width = document.getElementById(id).clientWidth;
    return Plotly.relayout(id, { width, height: height(id, width) });
  }));
  const paint = (isDark) => Promise.all(places.map((id) => Plotly.relayout(id, inks(isDark))));
  for (const id of places) {
    const { data, layout } = figures[id];
    const bar = id === "explorer";  // the others need no zoom
    await Plotly.newPlot(id, data, layout, { displaylogo: false, displayModeBar: bar });
  }
  await paint(dark.matches);
  await fit();
  window.addEventListener("resize", fit);
  dark.addEventListener("change", () => paint(dark.matches));
  window.addEventListener("beforeprint", () => {
    paint(false);
    for (const id of places) {
      Plotly.relayout(id, { width: PRINT_WIDTH, height: PRINT_HEIGHT * figures[id].layout.height });
    }
  });
  window.addEventListener("afterprint", () => paint(dark.matches).then(fit));

  for (const button of document.querySelectorAll(".switch button")) {
    button.addEventListener("click", () => {
      const shown = figures.explorer.data.map((trace) => trace.meta === button.dataset.group);
      Plotly.restyle("explorer", { visible: shown });
      for (const other of document.querySelectorAll(".switch button")) {
        other.setAttribute("aria-pressed", String(other === button));
      }
    });
  }
  document.documentElement.dataset.drawn = "true";
})();
