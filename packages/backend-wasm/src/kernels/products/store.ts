import type { Body } from "../../emit/body.ts";
import type { I32 } from "../../emit/scalars.ts";
import { F32x4, shuffle } from "../../emit/vectors.ts";

const HIGH_HALF = [8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7];

/**
 * Stores neighbouring columns of some rows: `vectors[row]` from `addresses[row]` on. Of the columns
 * only the first `count` are there; what lies behind them stays as it is. Without a count all are.
 * With one there are one or two vectors to a row. Addresses and vectors are locals, and are changed.
 */
export function storeRows(
  body: Body,
  addresses: readonly I32[],
  vectors: readonly (readonly F32x4[])[],
  count?: I32,
): void {
  const width = (vectors[0]?.length ?? 0) * 4;
  const storeAll = (): void => {
    for (const [row, address] of addresses.entries()) {
      for (const [index, vector] of (vectors[row] ?? []).entries()) {
        body.store(address, vector, index * 16);
      }
    }
  };
  if (count === undefined) storeAll();
  else body.if(count.geU(width), storeAll, () => storeSome(body, addresses, vectors, count));
}

/** Stores fewer columns than there are: 4, then 2, then 1 of them, as the bits of the count say. */
function storeSome(
  body: Body,
  addresses: readonly I32[],
  vectors: readonly (readonly F32x4[])[],
  count: I32,
): void {
  const rows = addresses.map((address, row) => {
    const [first, second] = vectors[row] ?? [];
    if (first === undefined) throw new TypeError("a row has no vector");
    return { address, first, second };
  });
  if (rows.some(({ second }) => second !== undefined)) {
    body.if(count.and(4), () => {
      for (const { address, first, second } of rows) {
        body.store(address, first);
        body.increment(address, 16);
        if (second) body.set(first, second);
      }
    });
  }
  body.if(count.and(2), () => {
    for (const { address, first } of rows) {
      body.storeHalf(address, first);
      body.increment(address, 8);
      body.set(first, shuffle(first, first, HIGH_HALF, F32x4));
    }
  });
  body.if(count.and(1), () => {
    for (const { address, first } of rows) body.store(address, first.lane(0));
  });
}
