import { ConfigError, type Tensor, type TokenChoice } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { dogeBalance } from "./index.ts";
import { checkGradient, draws, f64, route, towards, values } from "./testing/routings.ts";

const KEYS = 3;
const EXPERTS = KEYS * KEYS;
const TOKENS = 5;
const K = 2;
const loss = dogeBalance({ coefficient: 0.25 });

/** `[T, K²]` sums of halves. */
function sums(seed: number, tokens = TOKENS): number[] {
  const halves = draws(seed, tokens * 2 * KEYS);
  return Array.from({ length: tokens * EXPERTS }, (_, at) => {
    const [token, expert] = [Math.floor(at / EXPERTS), at % EXPERTS];
    const half = (start: number, key: number): number =>
      halves[token * 2 * KEYS + start + key] as number;
    return half(0, Math.floor(expert / KEYS)) + half(KEYS, expert % KEYS);
  });
}

const routed = (logits: Tensor, mask?: readonly boolean[]): TokenChoice =>
  route({ experts: EXPERTS, logits, k: K, mask });

/** What the source computes, by plain loops over tokens. */
async function bySorting(routings: readonly TokenChoice[]): Promise<number> {
  const counts = new Array<number>(EXPERTS).fill(0);
  const ranked = new Array<number>(EXPERTS).fill(0);
  let tokens = 0;
  for (const { logits, selected, mask } of routings) {
    const [rows, chosen] = [await values(logits), await values(selected)];
    const counted = mask ? await values(mask) : [];
    for (let token = 0; token * EXPERTS < rows.length; token++) {
      if (mask && !counted[token]) continue;
      tokens++;
      const row = rows.slice(token * EXPERTS, (token + 1) * EXPERTS);
      const powers = row.map(Math.exp);
      const total = powers.reduce((a, b) => a + b, 0);
      // Sorting the keys of each half sorts rows and columns of the grid of sums.
      const keys = Array.from({ length: KEYS }, (_, key) => key);
      const best = keys.toSorted((a, b) => (row[b * KEYS] ?? 0) - (row[a * KEYS] ?? 0));
      const others = keys.toSorted((a, b) => (row[b] ?? 0) - (row[a] ?? 0));
      for (const [i, first] of best.entries()) {
        for (const [j, second] of others.entries()) {
          ranked[i * KEYS + j]! += (powers[first * KEYS + second] ?? 0) / total;
        }
      }
      for (const expert of chosen.slice(token * K, (token + 1) * K)) counts[expert]!++;
    }
  }
  const shares = counts.map((count) => count / (tokens * K));
  return EXPERTS * shares.reduce((all, f, e) => all + (f * (ranked[e] ?? 0)) / tokens, 0);
}

describe("dogeBalance", () => {
  it("takes probabilities by rank of the keys, pooled over layers", async () => {
    const layers = [f64(sums(3), [TOKENS, EXPERTS]), f64(sums(4, 4), [4, EXPERTS])].map((logits) =>
      routed(logits),
    );
    for (const routings of [layers, layers.slice(1)]) {
      expect(await loss.evaluate(routings).item()).toBeCloseTo(await bySorting(routings), 12);
    }
    expect(loss.coefficient).toBe(0.25);
  });

  it("leaves padding out", async () => {
    const logits = f64(sums(5), [TOKENS, EXPERTS]);
    const masked = routed(logits, [true, false, true, true, false]);
    expect(await loss.evaluate([masked]).item()).toBeCloseTo(await bySorting([masked]), 12);
    const whole = await loss.evaluate([routed(logits)]).item();
    expect(Math.abs((await loss.evaluate([masked]).item()) - whole)).toBeGreaterThan(1e-3);
  });

  it("is 1 where all keys are as good, and does not see which experts collapse", async () => {
    const even = routed(f64(new Array<number>(TOKENS * EXPERTS).fill(0), [TOKENS, EXPERTS]));
    expect(await loss.evaluate([even]).item()).toBeCloseTo(1, 12);
    // Every token is certain of the first pair by rank: what counts is the load of expert 0.
    const certain = (expert: number): Promise<number> => {
      const logits = towards(new Array<number>(TOKENS).fill(expert), EXPERTS, 0);
      const [first, second] = [Math.floor(expert / KEYS), expert % KEYS];
      const data = Array.from({ length: TOKENS * EXPERTS }, (_, at) => {
        const e = at % EXPERTS;
        return (Math.floor(e / KEYS) === first ? 40 : 0) + (e % KEYS === second ? 40 : 0);
      });
      return loss
        .evaluate([route({ experts: EXPERTS, logits: f64(data, logits.shape), k: 1 })])
        .item();
    };
    expect(await certain(0)).toBeCloseTo(EXPERTS, 9);
    expect(await certain(4)).toBeCloseTo(0, 9);
  });

  it("has the gradient of differences", async () => {
    const data = [sums(6)];
    await checkGradient(loss, data, (layers) => layers.map((one) => routed(one)), [
      TOKENS,
      EXPERTS,
    ]);
  });

  it("refuses experts that are no square number", () => {
    const routing = route({ experts: 6, logits: f64(draws(1, 12), [2, 6]) });
    expect(() => loss.evaluate([routing])).toThrow(ConfigError);
    expect(() => loss.evaluate([routing])).toThrow("6 experts are no square number");
    expect(() => dogeBalance({ coefficient: Number.NaN })).toThrow(ConfigError);
  });
});
