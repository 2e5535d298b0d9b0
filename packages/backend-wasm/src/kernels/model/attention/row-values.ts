import type { Body } from "../../../emit/body.ts";
import { I32 } from "../../../emit/scalars.ts";
import { F32x4 } from "../../../emit/vectors.ts";
import { PANEL } from "../../products/tile.ts";
import { wordAt } from "../../reduction/lanes.ts";
import { type Batch, type RowArguments, VECTOR, eachPair, eachRow } from "./row-batch.ts";
import { PANEL_ROW, firstSeen, keyRows } from "./shape.ts";

/** Vectors of columns that are summed side by side. */
const SIDE_BY_SIDE = [8, 2, 1] as const;

/** Sums the values of the keys that each row sees, 8 keys at a time, in memory. */
export function sumValues(body: Body, batch: Batch, args: RowArguments): void {
  const { firstPanel, panels } = batch;
  const stride = body.let(args.keyHeads.mul(args.valueWidth).shl(2));
  const vectors = body.let(args.valueWidth.add(3).shrU(2));
  eachPair(body, batch, args, (rows) =>
    eachRow(body, rows, args, (_, { sums }) =>
      body.fillBytes(sums.add(VECTOR), 0, vectors.mul(VECTOR)),
    ),
  );
  body.for(0, panels, 1, (panel) => {
    const first = body.let(firstPanel.add(panel).mul(PANEL));
    eachPair(body, batch, args, (rows) => {
      const { pair, mask } = rows;
      const from = keyRows(args.v, pair, args, args.valueWidth).add(first.mul(stride));
      const values = body.let(from);
      eachRow(body, rows, args, ({ limit }, memory) => {
        const shares = body.let(memory.scores.add(panel.mul(PANEL_ROW)));
        const sums = body.let(memory.sums.add(VECTOR));
        const begin = body.let(firstSeen(limit, args));
        const isWhole = begin.leU(first).and(limit.geU(first.add(PANEL)));
        const given = { sums, shares, values, stride, vectors };
        body.if(
          isWhole.and(mask.eq(0)),
          () => addValues(body, given, PANEL),
          () => addSome(body, { ...given, first, begin, limit, mask }),
        );
      });
    });
  });
}

interface ValueSums {
  readonly sums: I32;
  readonly shares: I32;
  readonly values: I32;
  readonly stride: I32;
  readonly vectors: I32;
}

/** Adds the values of some keys times their shares. */
function addValues(body: Body, given: ValueSums, keys: number): void {
  const { shares, stride } = given;
  const sums = body.let(given.sums);
  const rest = body.let(given.vectors);
  const values = Array.from({ length: keys }, (_, key) =>
    body.let(given.values.add(stride.mul(key))),
  );
  for (const count of SIDE_BY_SIDE) {
    body.while(
      () => rest.geU(count),
      () => {
        const some = Array.from({ length: count }, (_, index) =>
          body.let(F32x4.load(sums, index * VECTOR)),
        );
        for (const [key, value] of values.entries()) {
          const share = body.let(F32x4.loadSplat(shares, key * 4));
          for (const [index, sum] of some.entries()) {
            body.set(sum, body.madd(share, F32x4.load(value, index * VECTOR), sum));
          }
          body.increment(value, count * VECTOR);
        }
        for (const [index, sum] of some.entries()) body.store(sums, sum, index * VECTOR);
        body.increment(sums, count * VECTOR);
        body.increment(rest, -count);
      },
    );
  }
}

/** Adds one key after the other, those that the row sees alone: others may be no numbers. */
function addSome(
  body: Body,
  given: ValueSums & {
    readonly first: I32;
    readonly begin: I32;
    readonly limit: I32;
    readonly mask: I32;
  },
): void {
  const { first, begin, limit, mask, stride } = given;
  const skipped = body.let(begin.sub(begin.minU(first)));
  const shares = body.let(given.shares.add(skipped.shl(2)));
  const values = body.let(given.values.add(skipped.mul(stride)));
  const end = body.let(first.add(PANEL));
  body.for(body.let(first.add(skipped)), body.let(end.minU(limit)), 1, (key) => {
    const shown = body.int(1);
    body.if(mask, () => body.set(shown, I32.load(wordAt(mask, key))));
    body.if(shown, () => addValues(body, { ...given, shares, values }, 1));
    body.increment(shares, 4);
    body.increment(values, stride);
  });
}
