import type { RoutedToken } from "../routed-token.ts";
import type { LayerStatistics } from "../statistics.ts";
import { type Markup, type Piece, html } from "../../markup.ts";

/** Digits behind the point of the weights in the page. */
const WEIGHT_DIGITS = 3;

/** What the page's script knows of a token in a layer. */
export interface DrawnToken {
  readonly experts: readonly number[];
  readonly weights: readonly string[];
  readonly dropped: number;
}

/** The tokens of one layer, in the order of the records. */
export function tokensOfLayer(records: readonly RoutedToken[], layer: number): DrawnToken[] {
  return records.map(({ layers }) => {
    const routed = layers.find((one) => one.layer === layer);
    return {
      experts: routed?.experts ?? [],
      weights: routed?.weights.map((weight) => weight.toFixed(WEIGHT_DIGITS)) ?? [],
      dropped: routed?.dropped ?? 0,
    };
  });
}

/** The text of the tokens with a choice of layers; the page's script colours and numbers them. */
export function tokenSection(
  records: readonly RoutedToken[],
  total: number,
  layers: readonly LayerStatistics[],
  textOf: (token: number) => string,
): Markup {
  const sequences = new Set(records.map(({ sequence }) => sequence));
  return html`<section id="tokens">
    <h2>Tokens by expert</h2>
    <p>
      <label for="layer">Layer</label>
      <select id="layer">
        ${layers.map(({ layer }) => html`<option>${layer}</option>`)}
      </select>
    </p>
    <p class="quiet">
      Colour and the small number are a token's first expert in this layer, a dash is none; all of
      them and their weights show where the pointer rests.
    </p>
    <noscript><p>Without its script this page shows the tokens' text alone.</p></noscript>
    ${
      total > records.length
        ? html`<p>The first ${records.length} of ${total} tokens are drawn; loads count all.</p>`
        : null
    }
    <ul class="legend" id="legend" aria-label="Share of each expert in this layer"></ul>
    ${[...sequences]
      .toSorted((a, b) => a - b)
      .map(
        (sequence) =>
          html`<h3>Sequence ${sequence}</h3>
            ${sequenceText(records, sequence, textOf)}`,
      )}
  </section>`;
}

function sequenceText(
  records: readonly RoutedToken[],
  sequence: number,
  textOf: (token: number) => string,
): Markup {
  const own = records.filter((record) => record.sequence === sequence);
  return html`<pre class="tokens">
${own.map((record) => tokenText(record, textOf(record.token)))}</pre>`;
}

/** One token; no white space of the page's own may stand in it. */
function tokenText({ position, token }: RoutedToken, text: string): Markup {
  const name = `${JSON.stringify(text)}, position ${position}, id ${token}`;
  // The number belongs on the line that the token ends.
  const end = /\n*$/.exec(text)?.[0] ?? "";
  const line = Array.from(text.slice(0, text.length - end.length), visible);
  const shown = text === "" ? [mark(`[${token}]`)] : [...line, ...[...end].map(() => mark("⏎"))];
  return html`<span class="token" data-name="${name}">${shown}<sub></sub>${end}</span>`;
}

/** Line ends and tabs have a mark of their own before them. */
function visible(character: string): Piece {
  if (character === "\n") return [mark("⏎"), character];
  return character === "\t" ? [mark("⇥"), character] : character;
}

function mark(sign: string): Markup {
  return html`<span class="mark">${sign}</span>`;
}
