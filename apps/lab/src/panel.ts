import { condense, curveBars, loadBars, scaleOf } from "./bars.ts";
import { bits } from "./format.ts";
import { loadStatistics } from "./loads.ts";
import type { StepRecord } from "./result.ts";
import { expertWords, extremes } from "./step-words.ts";
import { columns } from "./text-columns.ts";
import { type Twins, modelNames } from "./twins.ts";

/** What a panel shows. */
export interface PanelContent {
  /** The first line: steps, speed, time. */
  readonly head: string;
  /** The last step of each model. */
  readonly latest: Twins<StepRecord>;
  /** Bits/byte of every step so far. */
  readonly curves: Twins<readonly number[]>;
  /** Bits/byte at the last evaluation, where there was one. */
  readonly heldOut: Partial<Twins<number>>;
}

/** Fewest and most columns that curves are drawn in. */
const curveColumns = { fewest: 8, most: 60 } as const;

/**
 * The state of a run in some lines: what the models reached, their curves on one scale, and what each
 * expert takes. Undefined where it does not fit.
 */
export function panelLines(
  content: PanelContent,
  width: number,
  height: number,
): readonly string[] | undefined {
  const models = modelLines(content, width);
  if (models === undefined) return undefined;
  const lines = [content.head, ...models, ...loadLines(content, width)];
  const fits = lines.length < height && lines.every((line) => line.length <= width);
  return fits ? lines : undefined;
}

function modelLines(
  { latest, curves, heldOut }: PanelContent,
  width: number,
): readonly string[] | undefined {
  const table = columns(
    [
      ["", "loss", "bits/byte", "held out", ""],
      ...modelNames.map((name) => {
        const { loss, bitsPerByte } = latest[name];
        const scored = heldOut[name];
        return [
          name,
          loss.toFixed(3),
          bits(bitsPerByte),
          scored === undefined ? "" : bits(scored),
          "|",
        ];
      }),
    ],
    ["left", "right", "right", "right", "left"],
  ).split("\n");
  const [heading = "", ...rows] = table;
  // The mark is where a curve begins.
  const room = width - Math.max(...rows.map(({ length }) => length - 1));
  if (room < curveColumns.fewest) return undefined;
  const drawn = modelNames.map((name) => condense(curves[name], Math.min(room, curveColumns.most)));
  const scale = scaleOf(drawn);
  return [
    heading,
    ...rows.map((row, index) => row.replace(/\|$/, curveBars(drawn[index] ?? [], scale))),
  ];
}

function loadLines({ latest }: PanelContent, width: number): readonly string[] {
  const { load } = latest.sparse;
  const rows = load.map((layer, index) => {
    const { busiest, idlest } = extremes([layer]);
    return [
      `layer ${index}`,
      loadBars(loadStatistics(layer).shares),
      `busiest ${expertWords(busiest)}, idlest ${expertWords(idlest)}`,
    ];
  });
  const whole = columns([["experts", "▄ is an even share", ""], ...rows], ["left", "left", "left"]);
  // Of many experts there is no picture on one line.
  const narrow = columns(
    rows.map(([layer = "", , words = ""]) => [layer, words]),
    ["left", "left"],
  );
  const lines = whole.split("\n");
  return lines.every((line) => line.length <= width) ? lines : narrow.split("\n");
}
