import { type Markup, html, trusted } from "@moiety/models/markup";
import { bits, signedBits } from "../format.ts";
import type { Comparison, Verdict } from "../statistics.ts";
import { type PairSummary, verdictWords } from "../summary.ts";

const width = 220;
const height = 18;

/** Held-out bits/byte of two models, overall and for each domain, each difference drawn. */
export function languageTable(pair: PairSummary): Markup {
  const { first, second, overall, domains } = pair;
  const rows = domains.map(({ domain, comparison }) => ({
    title: domain.title,
    comparison,
    overall: false,
  }));
  const all = [{ title: "overall", comparison: overall, overall: true }, ...rows];
  const reach = drawnReach(all.map(({ comparison }) => comparison));
  return html`<div class="wide">
    <table>
      <thead>
        <tr>
          <th>held-out bits/byte</th>
          <th>${first}</th>
          <th>${second}</th>
          <th>${first} − ${second}</th>
          <th>95 % interval</th>
          <th>← ${first} better · ${second} better →</th>
          <th></th>
        </tr>
      </thead>
      <tbody>
        ${all.map((row) => tableRow(pair, row, reach))}
      </tbody>
    </table>
  </div>`;
}

interface Row {
  readonly title: string;
  readonly comparison: Comparison;
  readonly overall: boolean;
}

function tableRow(
  pair: PairSummary,
  { title, comparison: found, overall }: Row,
  reach: number,
): Markup {
  return html`<tr class="${overall ? "overall" : ""}">
    <th scope="row">${title}</th>
    <td>${bits(found.first)}</td>
    <td>${bits(found.second)}</td>
    <td class="${tone(found.verdict)}">${printed(found.difference)}</td>
    <td>${printed(found.low)} … ${printed(found.high)}</td>
    <td>${drawing(found, reach)}</td>
    <td class="word ${tone(found.verdict)}">${verdictWords(pair, found.verdict)}</td>
  </tr> `;
}

/** A difference with a true minus sign. */
function printed(value: number): string {
  return signedBits(value).replace("-", "−").replace("inf", "∞");
}

function tone(verdict: Verdict): string {
  if (verdict === "not resolved") return "unresolved";
  return verdict === "first better" ? "good" : "bad";
}

/** How far the drawn axis reaches to both sides of 0. */
function drawnReach(comparisons: readonly Comparison[]): number {
  const ends = comparisons.flatMap(({ low, high, difference }) => [low, high, difference]);
  return Math.max(1e-3, ...ends.filter(Number.isFinite).map(Math.abs)) * 1.05;
}

function drawing(found: Comparison, reach: number): Markup {
  const x = (value: number): string => {
    const inside = Math.max(-reach, Math.min(reach, value));
    return ((inside / reach / 2 + 0.5) * width).toFixed(1);
  };
  const color = {
    "first better": "var(--good)",
    "second better": "var(--bad)",
    "not resolved": "var(--quiet)",
  }[found.verdict];
  const middle = height / 2;
  return trusted(
    `<svg class="interval" width="${width}" height="${height}" aria-hidden="true">` +
      `<line x1="${width / 2}" x2="${width / 2}" y1="0" y2="${height}" stroke="var(--line)"/>` +
      `<line x1="${x(found.low)}" x2="${x(found.high)}" y1="${middle}" y2="${middle}" ` +
      `stroke="${color}" stroke-width="2"/>` +
      `<circle cx="${x(found.difference)}" cy="${middle}" r="4" fill="${color}"/></svg>`,
  );
}
