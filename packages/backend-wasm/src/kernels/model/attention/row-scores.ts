import type { Body } from "../../../emit/body.ts";
import type { I32 } from "../../../emit/scalars.ts";
import { F32x4, I32x4 } from "../../../emit/vectors.ts";
import { PANEL } from "../../products/tile.ts";
import { lanesBetween, wordAt } from "../../reduction/lanes.ts";
import { LOWEST, splat } from "../rows.ts";
import { packColumns, panelRows } from "./pack.ts";
import {
  type Batch,
  type RowArguments,
  PANELS_AT_ONCE,
  VECTOR,
  eachPair,
  eachRow,
} from "./row-batch.ts";
import { PANEL_ROW, firstSeen, keyRows, queryRow } from "./shape.ts";

/** The scores of a batch with all keys that its last row sees. */
export function scoreBatch(body: Body, batch: Batch, args: RowArguments): void {
  const { firstPanel, panels, packed } = batch;
  const { width, keyHeads, seen } = args;
  const stride = body.let(keyHeads.mul(width).shl(2));
  const scale = splat(body, args.scale);
  const panelBytes = body.let(width.mul(PANEL_ROW));
  body.for(0, panels, PANELS_AT_ONCE, (panel) => {
    const start = body.let(firstPanel.add(panel));
    eachPair(body, batch, args, (rows) => {
      const { pair, mask } = rows;
      const keys = body.let(keyRows(args.k, pair, args, width));
      for (let next = 0; next < PANELS_AT_ONCE; next++) {
        const from = panelRows(body, keys, body.let(start.add(next)), { seen, stride });
        packColumns(body, from, width, body.let(packed.add(panelBytes.mul(next))));
      }
      eachRow(body, rows, args, (place, { scores }) => {
        const query = body.let(queryRow(args.q, pair, place, args, width));
        const sums = productsWith(body, query, { packed, panelBytes, width });
        const to = body.let(scores.add(panel.mul(PANEL_ROW)));
        const range = { limit: place.limit, begin: firstSeen(place.limit, args) };
        storeScores(body, to, sums, { scale, mask, first: start.mul(PANEL), ...range });
      });
    });
  });
}

/** The products of a query with the keys of some packed panels. */
function productsWith(
  body: Body,
  query: I32,
  keys: { readonly packed: I32; readonly panelBytes: I32; readonly width: I32 },
): F32x4[] {
  const at = body.let(query);
  const panels = Array.from({ length: PANELS_AT_ONCE }, (_, panel) =>
    body.let(keys.packed.add(keys.panelBytes.mul(panel))),
  );
  const sums = panels.flatMap(() => [body.let(F32x4.const(0)), body.let(F32x4.const(0))]);
  body.for(0, keys.width, 1, () => {
    const factor = body.let(F32x4.loadSplat(at));
    for (const [index, sum] of sums.entries()) {
      const key = F32x4.load(panels[index >> 1] ?? missing(), (index & 1) * VECTOR);
      body.set(sum, body.madd(factor, key, sum));
    }
    body.increment(at, 4);
    for (const panel of panels) body.increment(panel, PANEL_ROW);
  });
  return sums;
}

/** Stores scores with keys from `first` on; hidden ones become {@link LOWEST}. */
function storeScores(
  body: Body,
  to: I32,
  sums: readonly F32x4[],
  given: {
    readonly scale: F32x4;
    readonly first: I32;
    readonly begin: I32;
    readonly limit: I32;
    readonly mask: I32;
  },
): void {
  const { scale, limit, mask } = given;
  const first = body.let(given.first);
  const begin = body.let(given.begin);
  for (const [index, sum] of sums.entries()) {
    const start = first.add(index * 4);
    const shown = body.let(lanesBetween(begin.sub(start), limit.sub(start)));
    body.if(mask, () => {
      const words = I32x4.load(wordAt(mask, first), index * VECTOR);
      body.set(shown, shown.and(words.ne(I32x4.const(0))));
    });
    body.store(to, shown.choose(sum.mul(scale), F32x4.const(LOWEST)), index * VECTOR);
  }
}

function missing(): never {
  throw new TypeError("there is no such panel");
}
