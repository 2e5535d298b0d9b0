/**
 * The script that draws the charts in the page: plain JavaScript, since it runs in the reader's
 * browser and not in this program. It reads the element `chart-data` and takes its colours from the
 * page's style, so that a change between light and dark redraws in the right ones.
 */
export const clientScript: string = /*#__PURE__*/ String.raw`
(() => {
  "use strict";
  const charts = JSON.parse(document.getElementById("chart-data").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  let drawn = [];

  const style = (name) =>
    getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const options = (chart, width) => {
    const axis = {
      stroke: style("--quiet"),
      grid: { stroke: style("--line"), width: 1 },
      ticks: { stroke: style("--line"), width: 1 },
      font: "12px system-ui, sans-serif",
    };
    return {
      width,
      height: Math.max(240, Math.min(380, width * 0.45)),
      scales: { x: { time: false } },
      axes: [{ ...axis, space: 60 }, { ...axis, size: 52 }],
      cursor: { points: { size: 7 }, drag: { x: true, y: false } },
      legend: {
        live: true,
        markers: { width: 0, fill: (_, index) => style(chart.series[index - 1]?.color ?? "--ink") },
      },
      series: [
        { label: "step", value: (_, value) => (value == null ? "–" : String(value)) },
        ...chart.series.map((series) => ({
          label: series.label,
          stroke: style(series.color),
          width: series.width,
          spanGaps: true,
          points: { show: series.points, size: 7, fill: style(series.color) },
          value: (_, value) => (value == null ? "–" : value.toFixed(series.decimals)),
        })),
      ],
    };
  };

  const draw = () => {
    for (const { plot } of drawn) plot.destroy();
    drawn = charts.map((chart) => {
      const place = document.getElementById(chart.id);
      const data = [chart.steps, ...chart.series.map((series) => series.values)];
      return { chart, place, plot: new uPlot(options(chart, place.clientWidth), data, place) };
    });
  };

  const fit = () => {
    for (const { chart, place, plot } of drawn) {
      const { width, height } = options(chart, place.clientWidth);
      if (plot.width !== width) plot.setSize({ width, height });
    }
  };

  draw();
  dark.addEventListener("change", draw);
  window.addEventListener("resize", fit);
})();
`;
