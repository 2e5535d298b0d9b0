import { expertLayersIn } from "../expert-layers.ts";
import type { ExpertLayer, RoutedToken } from "../routed-token.ts";
import { type LayerStatistics, routingStatistics } from "../statistics.ts";
import { clientScript } from "./client-script.ts";
import { loadMap } from "./load-map.ts";
import { type Markup, html, scriptJson, trusted } from "../../markup.ts";
import { percent, sharesOf } from "./shares.ts";
import { pageStyle } from "./style.ts";
import { tokenSection, tokensOfLayer } from "./tokens.ts";

/** Options of {@link traceReport}. */
export interface TraceReportOptions {
  /** The text of a token, by its id. Its id in brackets unless given. */
  readonly tokens?: ((token: number) => string) | undefined;
  /** Heads the page. */
  readonly title?: string | undefined;
  /**
   * The layers with experts, from `expertLayers(model.config)`. Unless given the records tell, which
   * know nothing of experts behind the last that was used.
   */
  readonly layers?: readonly ExpertLayer[] | undefined;
}

/**
 * The most tokens that the page draws; browsers grow slow beyond. Loads count all, and the page says
 * so where it leaves any out.
 */
export const MOST_DRAWN_TOKENS = 5000;

/**
 * Draws a trace: one HTML page that holds all it needs and asks the network for nothing. Its tokens
 * are coloured and numbered by their first expert in the layer that the reader selects; a map and a
 * table tell of the load of every layer.
 * @throws ConfigError for records of layers or experts that `layers` does not have
 */
export function traceReport(
  records: readonly RoutedToken[],
  options: TraceReportOptions = {},
): string {
  const { tokens = (token) => `[${token}]`, title = "Where tokens went" } = options;
  const counter = routingStatistics(options.layers ?? expertLayersIn(records));
  for (const record of records) counter.add(record);
  const { layers } = counter.result();
  const drawn = records
    .toSorted((a, b) => a.sequence - b.sequence || a.position - b.position)
    .slice(0, MOST_DRAWN_TOKENS);
  const data = layers.map((layer) => ({
    layer: layer.layer,
    shares: sharesOf(layer).map((share, expert) => [expert, percent(share)]),
    tokens: tokensOfLayer(drawn, layer.layer),
  }));
  const page = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta
          http-equiv="Content-Security-Policy"
          content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
        />
        <title>${title}</title>
        <style>
          ${trusted(pageStyle)}
        </style>
      </head>
      <body>
        <main>
          <h1>${title}</h1>
          ${tokenSection(drawn, records.length, layers, tokens)} ${loadSection(layers)}
        </main>
        <script type="application/json" id="trace-data">
          ${scriptJson(data)}
        </script>
        <script>
          ${trusted(clientScript)};
        </script>
      </body>
    </html> `;
  return page.markup;
}

function loadSection(layers: readonly LayerStatistics[]): Markup {
  return html`<section id="load">
    <h2>Load per layer</h2>
    <p class="quiet">
      A row is a layer, a column an expert, colour its share of the layer's assignments (of the
      weights, where every token goes to every expert): none is empty, three times an even share or
      more is full. Figures, where there is room, are percentages.
    </p>
    ${loadMap(layers)}
    <div class="wide">
      <table>
        <caption>
          Load of each layer
        </caption>
        <thead>
          <tr>
            <th>layer</th>
            <th>experts</th>
            <th>tokens</th>
            <th>assignments</th>
            <th>dropped</th>
            <th>busiest</th>
            <th>unused</th>
            <th>evenness</th>
          </tr>
        </thead>
        <tbody>
          ${layers.map(loadRow)}
        </tbody>
      </table>
    </div>
    <p class="quiet">Evenness is the entropy of the load's shares over its largest value.</p>
  </section>`;
}

function loadRow(layer: LayerStatistics): Markup {
  const { busiest, unused } = layer;
  return html`<tr>
    <th scope="row">${layer.layer}</th>
    <td>${layer.experts}</td>
    <td>${layer.tokens}</td>
    <td>${layer.assignments}</td>
    <td>${layer.dropped}</td>
    <td>${busiest.expert} (${percent(busiest.share)})</td>
    <td>${unused.length}</td>
    <td>${layer.normalizedEntropy.toFixed(2)}</td>
  </tr> `;
}
