import type { Body } from "../../emit/body.ts";
import type { I32 } from "../../emit/scalars.ts";
import { type F32x4, I32x4 } from "../../emit/vectors.ts";
import { type FactorDType, factorBytes, loadFour } from "./elements.ts";
import { type JobWords, type PackArguments, masksOf } from "./pack-job.ts";
import { PANEL, PANEL_ROW_BYTES } from "./tile.ts";
import { transpose4 } from "./transpose4.ts";

/** A panel's place, as the body of a packing routine sees it. */
interface Spot {
  /** Number of the panel × `advance`. */
  readonly column: I32;
  readonly source: I32;
  readonly inner: I32;
}

/** Panel by panel: eight streams of columns, transposed four by four. */
export function packAlong(
  body: Body,
  args: PackArguments,
  job: JobWords,
  dtype: FactorDType,
): void {
  const { source, inner, panel, end } = job;
  const to = body.let(job.to.add(panel.mul(inner).mul(PANEL_ROW_BYTES)));
  body.for(panel, end, 1, (number) => {
    const column = body.let(number.mul(args.advance));
    packPanel(body, args, { column, source, inner }, to, dtype);
  });
}

function packPanel(
  body: Body,
  args: PackArguments,
  { column, source, inner }: Spot,
  to: I32,
  dtype: FactorDType,
): void {
  const masks = masksOf(body, args, column);
  const streams = streamsOf(body, args, column, source);
  const bytes = factorBytes(dtype);
  const read = (from: I32): F32x4 => body.let(loadFour(body, dtype, from));
  const load = (): F32x4[] => [
    ...transpose4(body, streams.slice(0, 4).map(read)),
    ...transpose4(body, streams.slice(4).map(read)),
  ];
  const store = (vectors: readonly F32x4[], step: number, offset: number): void => {
    for (const [half, mask] of masks.entries()) {
      const vector = vectors[half * 4 + step];
      if (vector) body.store(to, vector.as(I32x4).and(mask), offset + half * 16);
    }
  };
  body.for(0, inner.shrU(2), 1, () => {
    const vectors = load();
    for (let step = 0; step < 4; step++) store(vectors, step, step * PANEL_ROW_BYTES);
    body.increment(to, 4 * PANEL_ROW_BYTES);
    for (const from of streams) body.increment(from, 4 * bytes);
  });
  // The last loads reach beyond the row, and what lies there is not stored.
  const rest = body.let(inner.and(3));
  body.if(rest, () => {
    const vectors = load();
    for (let step = 0; step < 3; step++) {
      body.if(rest.gtU(step), () => {
        store(vectors, step, 0);
        body.increment(to, PANEL_ROW_BYTES);
      });
    }
  });
}

/** Addresses of the eight columns of a panel; of the first one for those that are not there. */
function streamsOf(body: Body, args: PackArguments, column: I32, source: I32): I32[] {
  const { low, high, lowCount, highCount, columnBytes } = args;
  return Array.from({ length: PANEL }, (_, lane) => {
    const [first, count] = lane < 4 ? [low, lowCount] : [high, highCount];
    const index = body.let(column.add(lane & 3));
    const offset = first.add(index.mul(columnBytes));
    return body.let(source.add(offset.select(index.lt(count), low)));
  });
}
