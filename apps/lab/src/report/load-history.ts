import { type Markup, trusted } from "@moiety/models/markup";
import { percent } from "../format.ts";
import type { LoadHistory } from "./series.ts";

const left = 28;
const right = 56;
const bottom = 18;
const plotWidth = 760;

/** A share this many times an even one has the full colour. */
const fullMultiple = 3;

/** Load over time in one layer: a row for each expert, time to the right, colour for its share. */
export function loadHistoryDrawing(history: LoadHistory, layer: number): Markup {
  const experts = history.shares.length;
  const places = history.steps.length;
  const rowHeight = experts > 32 ? 8 : 14;
  const cellWidth = plotWidth / places;
  const plotHeight = experts * rowHeight;
  const rows = history.shares.map((row, expert) => {
    const y = expert * rowHeight;
    const cells = row.map((share, place) => {
      const opacity = Math.min(1, (share * experts) / fullMultiple).toFixed(2);
      const x = (left + place * cellWidth).toFixed(1);
      return (
        `<rect x="${x}" y="${y}" width="${(cellWidth + 0.3).toFixed(1)}" ` +
        `height="${rowHeight - 1}" fill-opacity="${opacity}"/>`
      );
    });
    const text = y + rowHeight - 3;
    const labels =
      rowHeight < 12
        ? ""
        : `<text x="${left - 6}" y="${text}" text-anchor="end">${expert}</text>` +
          `<text x="${left + plotWidth + 6}" y="${text}">${percent(row.at(-1) ?? 0)}</text>`;
    return `<g class="cell">${cells.join("")}</g>${labels}`;
  });
  const size = `${left + plotWidth + right} ${plotHeight + bottom}`;
  return trusted(
    `<svg class="history" viewBox="0 0 ${size}" width="100%" role="img" ` +
      `aria-label="Load of the experts of layer ${layer} over time">${rows.join("")}` +
      `<rect class="frame" x="${left}" y="0" width="${plotWidth}" height="${plotHeight}"/>` +
      `<text x="${left}" y="${plotHeight + 14}">step 1</text>` +
      `<text x="${left + plotWidth}" y="${plotHeight + 14}" text-anchor="end">` +
      `step ${history.steps.at(-1) ?? 0}</text></svg>`,
  );
}
