import { type Markup, html } from "@moiety/models/markup";
import { percent } from "../format.ts";
import type { LoadStatistics } from "../loads.ts";
import type { ExperimentResult, ModelName, StepRecord } from "../result.ts";
import { balanceSentence, loadSentence } from "../sentences.ts";
import type { Summary } from "../summary.ts";
import { loadHistoryDrawing } from "./load-history.ts";
import { loadHistory } from "./series.ts";

const historyPlaces = 60;

/** Are the experts used evenly? What the load is at the end, and how it came to be. */
export function loadSection(
  result: ExperimentResult,
  summary: Summary | null,
  records: readonly StepRecord[],
): Markup {
  const layers = records[0]?.load.length ?? 0;
  return html`<section id="load">
    <h2>Are the experts used evenly?</h2>
    <p>${balanceSentence(result, summary)}</p>
    ${summary === null ? null : loadTable(summary)}
    <h3>Busiest expert over the mean, while training</h3>
    <p class="quiet">
      1 is even; ${result.settings.model.numExperts} would be everything on one expert.
    </p>
    <div class="chart" id="imbalance-chart"></div>
    <h3>Load over time</h3>
    <p class="quiet">
      A row is an expert, time runs to the right, colour is its share of the layer's assignments:
      none is empty, three times an even share or more is full. At the right end: its share in the
      last steps.
    </p>
    ${Array.from({ length: layers }, (_, layer) => {
      const history = loadHistory(records, layer, historyPlaces);
      return html`<figure>
        <figcaption>Layer ${layer}</figcaption>
        ${loadHistoryDrawing(history, layer)}
      </figure>`;
    })}
  </section>`;
}

function loadTable(summary: Summary): Markup {
  return html`<div class="wide">
      <table>
        <caption>
          Load over the held-out text
        </caption>
        <thead>
          <tr>
            <th></th>
            <th>max/mean</th>
            <th>dead</th>
            <th>below 1/10 of even</th>
            <th>evenness</th>
            <th>busiest</th>
            <th>idlest</th>
          </tr>
        </thead>
        <tbody>
          ${summary.layers.map(({ load }, layer) => loadRow("sparse", load, layer))}
          ${summary.hashLoads.map((load, layer) => loadRow("hash", load, layer))}
        </tbody>
      </table>
    </div>
    <p class="quiet">
      Dead: no assignment at all; below 1/10 counts the dead ones too. Evenness is the entropy of
      the shares over its largest value.
    </p>
    ${summary.layers.map((_, layer) => html`<p>${loadSentence(summary, layer)}</p>`)}`;
}

function loadRow(name: ModelName, load: LoadStatistics, layer: number): Markup {
  return html`<tr>
    <th scope="row">${name}, layer ${layer}</th>
    <td>${load.imbalance.toFixed(2)}</td>
    <td>${load.dead.length}</td>
    <td>${load.starved.length}</td>
    <td>${load.evenness.toFixed(2)}</td>
    <td>${load.busiest.expert} (${percent(load.busiest.share)})</td>
    <td>${load.idlest.expert} (${percent(load.idlest.share)})</td>
  </tr> `;
}
