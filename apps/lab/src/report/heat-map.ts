import { type Markup, html } from "@moiety/models/markup";
import { percent } from "../format.ts";
import type { Specialisation } from "../loads.ts";
import type { DomainResult } from "../result.ts";

/** Beyond this many experts the cells hold no figures, only colour. */
const mostFigures = 24;

/** The full colour of a heat map: the largest share in any of its cells, of any layer. */
export function fullShare(layers: readonly Specialisation[]): number {
  const shares = layers.flatMap((layer) => layer.shares.flat());
  // A layer without assignments has no colour.
  return Math.max(Number.MIN_VALUE, ...shares);
}

/**
 * Which expert speaks which language, in one layer: a row for each domain, a column for each
 * expert, ordered by the domain that sends it the largest share of its own assignments.
 */
export function heatMap(
  domains: readonly DomainResult[],
  found: Specialisation,
  full: number,
): Markup {
  const order = expertOrder(found.shares);
  const figures = order.length <= mostFigures;
  return html`<div class="wide">
    <table class="heat">
      <thead>
        <tr>
          <th></th>
          ${order.map((expert) => html`<th scope="col">${expert}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${found.shares.map(
          (row, index) =>
            html`<tr>
              <th scope="row">${domains[index]?.title ?? ""}</th>
              ${order.map((expert) =>
                cell(domains[index]?.title ?? "", expert, row[expert] ?? 0, full, figures),
              )}
            </tr> `,
        )}
      </tbody>
    </table>
  </div>`;
}

function cell(
  title: string,
  expert: number,
  share: number,
  full: number,
  figures: boolean,
): Markup {
  const part = Math.round((100 * share) / full);
  const text = figures ? String(Math.round(share * 100)) : "";
  const strong = part > 60 ? "strong" : "";
  return html`<td
    class="${strong}"
    style="--part:${part}%"
    title="${title}: expert ${expert} gets ${percent(share)}"
  >
    ${text}
  </td>`;
}

/** Experts by the domain that they lean to most, so that neighbours speak alike. */
function expertOrder(shares: readonly (readonly number[])[]): readonly number[] {
  const experts = shares[0]?.length ?? 0;
  const leaning = (expert: number): number => {
    const column = shares.map((row) => row[expert] ?? 0);
    return column.indexOf(Math.max(...column));
  };
  return Array.from({ length: experts }, (_, expert) => expert).sort(
    (a, b) => leaning(a) - leaning(b) || a - b,
  );
}
