import type { LayerStatistics } from "../statistics.ts";
import { type Markup, html } from "../../markup.ts";
import { percent, sharesOf } from "./shares.ts";

/** Sizes in the drawing's own units. */
const CELL = { width: 12, wideWidth: 34, height: 18 } as const;
const LEFT = 64;
const TOP = 18;

/** Up to this many experts the cells are wide and hold figures. */
const MOST_FIGURES = 24;

/** A cell is full at this many times an even share. */
const FULL = 3;

/** From this much colour on, a figure is written in the page's own. */
const STRONG = 0.6;

/** Load per layer and expert: a row for each layer, a column for each expert. */
export function loadMap(layers: readonly LayerStatistics[]): Markup {
  const experts = Math.max(0, ...layers.map((layer) => layer.experts));
  const width = experts > MOST_FIGURES ? CELL.width : CELL.wideWidth;
  const size = [LEFT + experts * width + 1, TOP + layers.length * CELL.height + 1] as const;
  // So that the numbers above narrow columns do not touch.
  const each = experts > MOST_FIGURES ? 4 : 1;
  const columns = Array.from({ length: Math.ceil(experts / each) }, (_, index) => index * each);
  return html`<div class="wide">
    <svg
      role="img"
      aria-label="Load of every expert in every layer; the table below has its figures"
      width="${size[0]}"
      height="${size[1]}"
      viewBox="0 0 ${size[0]} ${size[1]}"
    >
      ${columns.map(
        (expert) =>
          html`<text x="${LEFT + (expert + 0.5) * width}" y="${TOP - 6}" text-anchor="middle">
            ${expert}
          </text>`,
      )}
      ${layers.map((layer, row) => loadRow(layer, TOP + row * CELL.height, width))}
    </svg>
  </div>`;
}

function loadRow(layer: LayerStatistics, top: number, width: number): Markup {
  const middle = top + CELL.height * 0.7;
  return html`<text x="0" y="${middle}">layer ${layer.layer}</text> ${sharesOf(layer).map(
      (share, expert) => {
        const left = LEFT + expert * width;
        const colour = Math.min(1, (share * layer.experts) / FULL);
        const place = trustedPlace(left, top, width);
        return html`<g>
          <title>layer ${layer.layer}, expert ${expert}: ${percent(share)}</title>
          <rect class="cell" ${place} fill-opacity="${colour.toFixed(3)}" />
          <rect class="frame" ${place} />
          ${
            width === CELL.wideWidth
              ? html`<text
                  class="${colour > STRONG ? "strong" : "figure"}"
                  x="${left + width / 2}"
                  y="${middle}"
                  text-anchor="middle"
                >
                  ${(100 * share).toFixed(0)}
                </text>`
              : null
          }
        </g>`;
      },
    )}`;
}

function trustedPlace(left: number, top: number, width: number): Markup {
  return html`x="${left}" y="${top}" width="${width}" height="${CELL.height}"`;
}
