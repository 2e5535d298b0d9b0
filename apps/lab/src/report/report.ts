import { type Markup, type Piece, html, scriptJson, trusted } from "@moiety/models/markup";
import { bits, size } from "../format.ts";
import type { ExperimentResult, ModelName, StepRecord } from "../result.ts";
import {
  causalSentence,
  routerSentence,
  specialisationSentence,
  verdictSentence,
} from "../sentences.ts";
import type { Summary } from "../summary.ts";
import { modelNames } from "../twins.ts";
import { clientScript } from "./client-script.ts";
import { fullShare, heatMap } from "./heat-map.ts";
import { languageTable } from "./language-table.ts";
import { loadSection } from "./load-section.ts";
import { plotLibrary } from "./plot-library.ts";
import { imbalanceChart, lossChart, stepsAPlace } from "./series.ts";
import { settingSection } from "./setting-section.ts";
import { pageStyle } from "./style.ts";

/**
 * The report of a run: one HTML page that holds all it needs and asks the network for nothing.
 *
 * @param records the records of all steps that are done.
 */
export function reportPage(
  result: ExperimentResult,
  summary: Summary | null,
  records: readonly StepRecord[],
): string {
  const library = plotLibrary();
  const charts = [lossChart(records), imbalanceChart(records)];
  const page = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta
          http-equiv="Content-Security-Policy"
          content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
        />
        <title>Sparse, dense and hashed</title>
        <style>
          ${trusted(library.style)}${trusted(pageStyle)}
        </style>
      </head>
      <body>
        <main>
          <header>
            <h1>Does sparsity pay?</h1>
            <p class="verdict">${withMinus(verdictSentence(result, summary))}</p>
            ${opening(result, summary)}
            <p class="quiet">
              Three byte-level language models of equal active size, trained on the same bytes of
              ${result.textSource}: a sparse one, whose routers send each token to
              ${result.settings.model.numExpertsPerTok} of ${result.settings.model.numExperts}
              experts; a dense one with a single wide expert in each layer; and one with the experts
              of the first, but each byte has its own by a fixed hash.
            </p>
          </header>
          ${figures(result, summary)} ${curves(records)}
          ${summary === null ? null : languages(summary)} ${loadSection(result, summary, records)}
          ${summary === null ? null : speakers(result, summary)} ${settingSection(result)}
        </main>
        <script type="application/json" id="chart-data">
          ${scriptJson(charts)}
        </script>
        <script>
          ${trusted(library.script)};
        </script>
        <script>
          ${trusted(clientScript)};
        </script>
      </body>
    </html> `;
  return page.markup;
}

/** What else is to be said first. */
function opening(result: ExperimentResult, summary: Summary | null): Piece {
  if (summary === null) return null;
  const rule = causalSentence(result);
  return [
    html`<p class="verdict">${withMinus(routerSentence(result, summary))}</p>`,
    rule === undefined ? null : html`<p class="quiet">${rule}</p>`,
  ];
}

/** Figures with a true minus sign. */
function withMinus(text: string): string {
  return text.replaceAll(/-(?=\d)/g, "−");
}

function figures(result: ExperimentResult, summary: Summary | null): Markup {
  const figure = (name: ModelName): Markup => {
    const model = result.models[name];
    const heldOut = summary === null ? "–" : bits(summary.heldOut[name]);
    return html`<div class="${name}">
      ${name}<b>${heldOut}</b>bits/byte held out
      <p class="quiet">
        ${size(model.parameters)} parameters, ${size(model.activeParameters)} active for a token<br />${size(model.flopsPerToken)}
        FLOPs for a token, forward<br />${size(model.tokensPerSecond)} training tokens/s
      </p>
    </div>`;
  };
  return html`<section id="summary">
    <h2>Summary</h2>
    <div class="figures">${modelNames.map(figure)}</div>
  </section>`;
}

function curves(records: readonly StepRecord[]): Markup {
  const each = stepsAPlace(records.at(-1)?.step ?? 0);
  const averaged = each === 1 ? "of single steps" : `averaged over ${each} steps`;
  return html`<section id="loss">
    <h2>Bits/byte while training</h2>
    <p class="quiet">
      Pale: training, ${averaged}. Strong: held out; before the last point on a part of the held-out
      sequences. Drag across the chart to look closer, double-click to go back.
    </p>
    <div class="chart" id="loss-chart"></div>
  </section>`;
}

function languages(summary: Summary): Markup {
  const { dense, hash, hashDense } = summary;
  const { overall, domains } = dense;
  const each = domains[0]?.comparison.sequences ?? 0;
  const many =
    domains.length < 5
      ? null
      : html` With ${domains.length} intervals in a table, about one in twenty misses by chance.`;
  return html`<section id="languages">
    <h2>Domain by domain</h2>
    ${languageTable(dense)} ${languageTable(hash)} ${languageTable({ ...hashDense, domains: [] })}
    <p class="quiet">
      Intervals are paired Student's t intervals over held-out sequences: ${overall.sequences}
      overall, ${each} for each domain. They speak of these trained models; another seed would train
      others.${many}
    </p>
  </section>`;
}

function speakers(result: ExperimentResult, summary: Summary): Markup {
  const found = summary.layers.map((layer) => layer.specialisation);
  const full = fullShare(found);
  return html`<section id="experts">
    <h2>Which expert speaks which language?</h2>
    <p class="quiet">
      Each row is a domain and sums to 100: the percentage of its assignments that each expert gets
      over the held-out text. Experts stand in the order of the domain that they lean to most. An
      even share would be ${(100 / result.settings.model.numExperts).toFixed(1)}.
    </p>
    ${found.map(
      (layer, index) =>
        html`<h3>Layer ${index}</h3>
          <p>${specialisationSentence(result, summary, index)}</p>
          ${heatMap(result.domains, layer, full)}`,
    )}
  </section>`;
}
