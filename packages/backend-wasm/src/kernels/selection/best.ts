import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { I32x4, vectorConst } from "../../emit/vectors.ts";
import { NO_KEY } from "../reduction/keys.ts";
import { VECTOR_BYTES, acrossLanes, padLanes, wordAt } from "../reduction/lanes.ts";

/** Up to so many keys are walked for each place of the list; longer rows once for all. */
const SHORT = 1024;
/** Above every index. */
const NO_INDEX = 0x7fffffff;
/** The bytes of 0, 1, 2, 3. */
const LANE_NUMBERS: readonly number[] = [0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0];

/** What {@link pickBest} looks at and fills. */
export interface Picking {
  /** Where `count` keys are; what follows them in the last vector may be anything. */
  readonly from: I32;
  readonly count: I32;
  /** Room for `k` keys, and for their indices. */
  readonly keys: I32;
  readonly indices: I32;
  /** Above 0. */
  readonly k: I32;
}

/**
 * The `k` largest of a row of keys: their keys and indices by (key descending, index ascending). Where
 * fewer are above `NO_KEY`, the index is −1 in the other places. Keys of the row are spoilt.
 */
export function pickBest(body: Body, picking: Picking): void {
  body.if(
    picking.count.leU(SHORT),
    () => pickInRounds(body, picking),
    () => pickByList(body, picking),
  );
}

/**
 * {@link pickBest} for rows that are not long: finds the best that is left, once for each place, without a
 * branch that could be guessed wrong.
 */
export function pickInRounds(body: Body, { from, count, keys, indices, k }: Picking): void {
  const best = {
    keys: body.let(I32x4.const(NO_KEY)),
    indices: body.let(I32x4.const(-1)),
    numbers: body.let(I32x4.const(0)),
  };
  const at = body.let(from);
  const left = body.let(count);
  body.for(0, k, 1, (place) => {
    body.set(best.keys, I32x4.const(NO_KEY));
    body.set(best.indices, I32x4.const(-1));
    body.set(best.numbers, vectorConst(I32x4, LANE_NUMBERS));
    body.set(at, from);
    body.set(left, count);
    body.while(
      () => left.geU(4),
      () => {
        holdKeys(body, best, body.let(I32x4.load(at)));
        body.increment(at, VECTOR_BYTES);
        body.increment(left, -4);
      },
    );
    body.if(left, () => {
      const last = body.let(I32x4.load(at));
      padLanes(body, last, left, I32x4.const(NO_KEY), I32x4);
      holdKeys(body, best, last);
    });
    const key = acrossLanes(body, best.keys, I32x4, (a, b) => a.max(b));
    const candidates = best.keys.eq(key).chooseInt(best.indices, I32x4.const(NO_INDEX));
    const chosen = acrossLanes(body, body.let(candidates), I32x4, (a, b) => a.min(b));
    const index = body.let(chosen.lane(0));
    body.store(wordAt(keys, place), key.lane(0));
    body.store(wordAt(indices, place), index);
    body.if(index.ge(0), () => body.store(wordAt(from, index), I32.const(NO_KEY)));
  });
}

/** The best of each lane, and the numbers of the next four keys: all are locals. */
type BestOfLanes = Readonly<Record<"keys" | "indices" | "numbers", I32x4>>;

/** Takes the next four keys; the first of equals stays. */
function holdKeys(body: Body, best: BestOfLanes, vector: I32x4): void {
  const isBetter = body.let(vector.gt(best.keys));
  body.set(best.keys, best.keys.max(vector));
  body.set(best.indices, isBetter.chooseInt(best.numbers, best.indices));
  body.set(best.numbers, best.numbers.add(I32x4.const(4)));
}

/** Holds four keys at a time against the last of the list, which few of a long row get into. */
function pickByList(body: Body, { from, count, keys, indices, k }: Picking): void {
  body.for(0, k, 1, (place) => {
    body.store(wordAt(keys, place), I32.const(NO_KEY));
    body.store(wordAt(indices, place), I32.const(-1));
  });
  const last = body.let(wordAt(keys, k).sub(4));
  const toIndex = body.let(indices.sub(keys));
  const least = body.int(NO_KEY);
  body.for(0, count, 4, (index) => {
    const vector = I32x4.load(wordAt(from, index));
    const hits = body.let(vector.gt(I32x4.splat(least)).bitmask());
    body.while(
      () => hits,
      () => {
        const candidate = body.let(index.add(hits.ctz()));
        body.set(hits, hits.and(hits.sub(1)));
        const key = body.let(I32.load(wordAt(from, candidate)));
        body.if(key.gt(least).and(candidate.ltU(count)), () => {
          const place = body.let(last);
          insertKey(body, { key, index: candidate, place, keys, toIndex });
          body.set(least, I32.load(last));
        });
      },
    );
  });
}

interface Insertion {
  readonly key: I32;
  readonly index: I32;
  /** Address of the place in the list that becomes free: a local. */
  readonly place: I32;
  /** Where the list begins. */
  readonly keys: I32;
  /** From a key's address to that of its index. */
  readonly toIndex: I32;
}

/** Moves lower keys down, from `place` on, and puts a key where it belongs: behind its equals. */
function insertKey(body: Body, { key, index, place, keys, toIndex }: Insertion): void {
  body.while(
    () => place.gtU(keys).and(I32.load(place.sub(4)).lt(key)),
    () => {
      body.store(place, I32.load(place.sub(4)));
      body.store(place.add(toIndex), I32.load(place.add(toIndex).sub(4)));
      body.increment(place, -4);
    },
  );
  body.store(place, key);
  body.store(place.add(toIndex), index);
}
