import {
  ConfigError,
  ShapeError,
  type Tensor,
  countIds,
  hostNormal,
  hostUniform,
  randomKey,
} from "@moiety/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { balancedAssignment } from "./assignment.ts";
import { backend } from "./testing/numbers.ts";

/** The largest sum of a balanced assignment: the Hungarian method, each expert as T/E places. */
function bestTotal(scores: readonly number[], tokens: number, experts: number): number {
  const places = tokens / experts;
  const cost = (token: number, place: number): number =>
    -(scores[token * experts + Math.floor(place / places)] as number);
  const rowPrice = new Float64Array(tokens + 1);
  const columnPrice = new Float64Array(tokens + 1);
  const rowOf = new Int32Array(tokens + 1);
  for (let row = 1; row <= tokens; row++) {
    const way = new Int32Array(tokens + 1);
    const least = new Float64Array(tokens + 1).fill(Number.POSITIVE_INFINITY);
    const used = new Uint8Array(tokens + 1);
    rowOf[0] = row;
    let column = 0;
    do {
      used[column] = 1;
      const current = rowOf[column] as number;
      let delta = Number.POSITIVE_INFINITY;
      let next = 0;
      for (let at = 1; at <= tokens; at++) {
        if (used[at]) continue;
        const reduced =
          cost(current - 1, at - 1) - (rowPrice[current] as number) - (columnPrice[at] as number);
        if (reduced < (least[at] as number)) {
          least[at] = reduced;
          way[at] = column;
        }
        if ((least[at] as number) < delta) {
          delta = least[at] as number;
          next = at;
        }
      }
      for (let at = 0; at <= tokens; at++) {
        if (used[at]) {
          rowPrice[rowOf[at] as number] = (rowPrice[rowOf[at] as number] as number) + delta;
          columnPrice[at] = (columnPrice[at] as number) - delta;
        } else least[at] = (least[at] as number) - delta;
      }
      column = next;
    } while (rowOf[column] !== 0);
    while (column !== 0) {
      const before = way[column] as number;
      rowOf[column] = rowOf[before] as number;
      column = before;
    }
  }
  let total = 0;
  for (let at = 1; at <= tokens; at++) total -= cost((rowOf[at] as number) - 1, at - 1);
  return total;
}

const totalOf = (scores: readonly number[], chosen: readonly number[], experts: number): number =>
  chosen.reduce((sum, e, t) => (e < experts ? sum + (scores[t * experts + e] as number) : sum), 0);

/** Scores as they come up: all different, many equal tokens, one expert that all want, all equal. */
const kinds: Record<string, (seed: number, tokens: number, experts: number) => number[]> = {
  "all different": (seed, tokens, experts) => [...hostNormal(randomKey(seed), tokens * experts)],
  "few distinct tokens": (seed, tokens, experts) => {
    const few = Math.max(1, Math.floor(tokens / 6));
    const table = hostNormal(randomKey(seed), few * experts);
    return Array.from(hostUniform(randomKey(seed + 1), tokens), (u) => Math.floor(u * few)).flatMap(
      (row) => [...table.subarray(row * experts, (row + 1) * experts)],
    );
  },
  "the same favourites": (seed, tokens, experts) => {
    const common = hostNormal(randomKey(seed), experts);
    return Array.from(
      hostNormal(randomKey(seed + 1), tokens * experts),
      (draw, at) => 0.3 * draw + 5 * (common[at % experts] as number),
    );
  },
  "equal tokens": (seed, tokens, experts) => {
    const common = [...hostNormal(randomKey(seed), experts)];
    return Array.from({ length: tokens }, () => common).flat();
  },
  "no difference": (_, tokens, experts) => new Array<number>(tokens * experts).fill(0.25),
};

const upload = (data: readonly number[], shape: readonly number[], dtype: "f32" | "f64"): Tensor =>
  backend.tensor([...data], { shape, dtype });

describe("balancedAssignment", () => {
  /** Draws scores; how far their assignment, which is balanced, falls short of the best total. */
  const shortfall = async (
    draw: (typeof kinds)[string],
    [tokens, experts]: readonly [number, number],
    dtype: "f32" | "f64",
  ): Promise<number> => {
    const data = draw(tokens * 7 + experts, tokens, experts).map(Math.fround);
    const chosen = balancedAssignment(upload(data, [tokens, experts], dtype));
    const counts = await countIds(chosen, experts).read();
    expect(counts).toEqual(new Int32Array(experts).fill(tokens / experts));
    const best = bestTotal(data, tokens, experts);
    const found = totalOf(data, [...(await chosen.read())], experts);
    chosen.dispose();
    return (best - found) / (Math.abs(best) + 1e-5);
  };

  // Rounds grow with the experts, and so does the time: kinds at few, many experts at one kind.
  it.each(Object.entries(kinds))(
    "of %s is balanced and the best but for a part in 10⁴",
    async (_, draw) => {
      expect(await shortfall(draw, [8, 4], "f64")).toBeLessThanOrEqual(1e-4);
      expect(await shortfall(draw, [20, 5], "f32")).toBeLessThanOrEqual(1e-4);
    },
  );

  it.each([
    [40, 8],
    [16, 16],
    [12, 3],
    [10, 1],
    [7, 7],
  ])(
    "is balanced and the best but for a part in 10⁴: %i tokens, %i experts",
    async (tokens, experts) => {
      const kind = kinds["the same favourites"] as (typeof kinds)[string];
      expect(await shortfall(kind, [tokens, experts], "f32")).toBeLessThanOrEqual(1e-4);
    },
  );

  it("is balanced whatever the rounds, the size and the scores", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 0, max: 5 }),
        fc.integer({ min: 0, max: 12 }),
        fc.nat(1e6),
        fc.boolean(),
        async (experts, places, rounds, seed, broken) => {
          const tokens = experts * places;
          const data = [...hostNormal(randomKey(seed), tokens * experts)];
          if (broken && data.length > 0) data.fill(Number.NaN, 0, experts);
          const chosen = balancedAssignment(upload(data, [tokens, experts], "f32"), { rounds });
          const counts = await countIds(chosen, experts).read();
          expect([...counts]).toEqual(new Array(experts).fill(places));
        },
      ),
      { seed: 3, numRuns: 24 },
    );
  });

  it("gives more total with more rounds, and keeps what had settled", async () => {
    const data = kinds["few distinct tokens"]?.(5, 64, 8) ?? [];
    const best = bestTotal(data, 64, 8);
    const gaps: number[] = [];
    for (const rounds of [0, 16, 64, 256]) {
      const chosen = balancedAssignment(upload(data, [64, 8], "f64"), { rounds });
      gaps.push(best - totalOf(data, [...(await chosen.read())], 8));
    }
    expect(gaps[0]).toBeGreaterThan(gaps[3] as number);
    expect(Math.max(...gaps)).toBeLessThan(0.35 * best);
    expect(gaps[3]).toBeLessThan(1e-4 * best);
  });

  it("lets padding take no place, and no expert more than its share", async () => {
    const data = kinds["the same favourites"]?.(2, 24, 4) ?? [];
    const keep = Array.from({ length: 24 }, (_, t) => t % 3 !== 1);
    const mask = backend.tensor(keep);
    const garbage = data.map((value, at) => (keep[Math.floor(at / 4)] ? value : Number.NaN));
    const chosen = [...(await balancedAssignment(upload(data, [24, 4], "f64"), { mask }).read())];
    const other = balancedAssignment(upload(garbage, [24, 4], "f64"), { mask });
    expect([...(await other.read())]).toEqual(chosen);
    expect(chosen.every((expert, token) => (expert === 4) === !keep[token])).toBe(true);
    for (let e = 0; e < 4; e++) {
      expect(chosen.filter((expert) => expert === e).length).toBeLessThanOrEqual(6);
    }
    // Padding is indifferent, so the best for the others is the best with zeros in its rows.
    const padded = data.map((value, at) => (keep[Math.floor(at / 4)] ? value : 0));
    const best = bestTotal(padded, 24, 4);
    expect(totalOf(data, chosen, 4)).toBeGreaterThanOrEqual(best - 1e-4 * Math.abs(best));
  });

  it("gives the same in another order of experts, but for ties", async () => {
    const [tokens, experts] = [24, 4];
    const data = kinds["all different"]?.(9, tokens, experts) ?? [];
    const order = [2, 0, 3, 1];
    const moved = data.map(
      (_, at) => data[at - (at % experts) + (order[at % experts] as number)] as number,
    );
    const found = [...(await balancedAssignment(upload(data, [tokens, 4], "f64")).read())];
    const other = [...(await balancedAssignment(upload(moved, [tokens, 4], "f64")).read())];
    expect(other.map((expert) => order[expert])).toEqual(found);
  });

  it("frees what it makes on the way", () => {
    const scores = upload(kinds["all different"]?.(9, 24, 4) ?? [], [24, 4], "f32");
    const before = backend.statistics().liveBuffers;
    const chosen = balancedAssignment(scores);
    expect(backend.statistics().liveBuffers).toBe(before + 1);
    chosen.dispose();
  });

  it("refuses what cannot be shared out", () => {
    const scores = upload(new Array(14).fill(0), [7, 2], "f32");
    expect(() => balancedAssignment(scores)).toThrow(ConfigError);
    expect(() => balancedAssignment(scores)).toThrow(/7 tokens to 2 experts/);
    expect(() => balancedAssignment(scores.reshape([14]))).toThrow(ShapeError);
    const even = upload(new Array(16).fill(0), [8, 2], "f32");
    for (const rounds of [-1, 1.5]) {
      expect(() => balancedAssignment(even, { rounds })).toThrow(/rounds/);
    }
  });
});
