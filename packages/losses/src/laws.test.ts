import { ConfigError, type Routing, type RoutingLoss, Tensor, valueAndGrad } from "@moiety/core";
import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import {
  huggingFaceBalance,
  huggingFaceSwitchBalance,
  importanceCv,
  switchBalance,
  totalLoss,
  zLoss,
} from "./index.ts";
import {
  backend,
  checkGradient,
  draws,
  f64,
  route,
  total,
  towards,
  values,
} from "./testing/routings.ts";

const coefficient = 1;
const all: RoutingLoss[] = [
  switchBalance({ coefficient }),
  switchBalance({ coefficient, per: "sequence", counts: "plain" }),
  switchBalance({ coefficient, probabilities: "softmax" }),
  huggingFaceBalance({ coefficient }),
  huggingFaceBalance({ coefficient, from: "scores" }),
  huggingFaceSwitchBalance({ coefficient }),
  zLoss({ coefficient }),
  importanceCv({ coefficient }),
  importanceCv({ coefficient, of: "scores" }),
];

describe("every loss", () => {
  afterEach(() => vi.restoreAllMocks());

  it("does not move when tokens are permuted, experts renamed, or softmax logits shifted", async () => {
    const experts = 3;
    const tokens = 6;
    const data = draws(31, tokens * experts);
    const tokenOrder = [3, 0, 5, 1, 2, 4];
    const names = [2, 0, 1];
    const permuted = tokenOrder.flatMap((t) => data.slice(t * experts, t * experts + experts));
    const renamed = data.map(
      (_, at) => data[at - (at % experts) + (names[at % experts] ?? 0)] as number,
    );
    for (const loss of all) {
      const value = (list: readonly number[]): Promise<number> =>
        loss.evaluate([route({ experts, logits: f64(list, [tokens, experts]) })]).item();
      const reference = await value(data);
      expect(await value(permuted)).toBeCloseTo(reference, 12);
      expect(await value(renamed)).toBeCloseTo(reference, 12);
      if (loss.name !== "zLoss") {
        expect(await value(data.map((logit) => logit + 3))).toBeCloseTo(reference, 10);
      }
    }
  });

  it("leaves padding out, whatever stands there", async () => {
    const experts = 3;
    const data = draws(32, 4 * experts);
    const padded = [...data.slice(0, 6), Number.NaN, 1e30, -4, ...data.slice(6), 7, 8, Number.NaN];
    const mask = [1, 1, 0, 1, 1, 0];
    for (const loss of all) {
      const plain = route({ experts, logits: f64(data, [4, experts]) });
      const masked = route({ experts, logits: f64(padded, [6, experts]), mask });
      expect(await loss.evaluate([masked]).item()).toBeCloseTo(
        await loss.evaluate([plain]).item(),
        12,
      );
    }
  });

  it("is finite when collapsed, when all is padding, and without tokens", async () => {
    for (const loss of all) {
      const routings = [
        route({ experts: 3, logits: towards([1, 1, 1, 1], 3, 1e4) }),
        route({ experts: 3, logits: towards([1, 1], 3, 5), mask: [0, 0] }),
        route({ experts: 3, logits: f64([], [0, 3]) }),
      ];
      for (const routing of routings) {
        const step = valueAndGrad((p: { logits: Tensor }) =>
          loss.evaluate([{ ...route({ experts: 3, logits: p.logits }), mask: routing.mask }]),
        );
        const { loss: value, grads } = step({ logits: routing.logits });
        expect(Number.isFinite(await value.item())).toBe(true);
        for (const slope of await values(grads.logits)) expect(Number.isFinite(slope)).toBe(true);
      }
    }
  });

  it("is smallest where probabilities follow even counts", async () => {
    // With f = P, E · Σ f² is at least 1, and 1 only when even.
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 12 }),
        async (chosen) => {
          const routing = route({ experts: 4, logits: towards(chosen, 4, 60) });
          const counts = [0, 1, 2, 3].map((expert) => chosen.filter((e) => e === expert).length);
          const wanted = (4 * total(counts.map((count) => count ** 2))) / chosen.length ** 2;
          expect(wanted).toBeGreaterThanOrEqual(1);
          for (const loss of [
            switchBalance({ coefficient }),
            huggingFaceBalance({ coefficient }),
          ]) {
            expect(await loss.evaluate([routing]).item()).toBeCloseTo(wanted, 9);
          }
        },
      ),
      { seed: 6, numRuns: 30 },
    );
  });

  it("has the gradient of its value, counts held constant", async () => {
    const experts = 3;
    const tokens = 4;
    const data = [draws(41, tokens * experts), draws(42, tokens * experts)];
    // Softmax scores have the truth cases.
    const routingsOf = (layers: readonly Tensor[]): Routing[] =>
      layers.map((logits) =>
        route({ experts, logits, score: "sigmoid", mask: [1, 1, 0, 1], sequences: [0, 1, 4] }),
      );
    for (const loss of all) await checkGradient(loss, data, routingsOf, [tokens, experts]);
  });

  it("reads nothing back, and frees all but its value", () => {
    const read = vi.spyOn(Tensor.prototype, "read");
    for (const loss of all) {
      const routing = route({
        experts: 3,
        logits: f64(draws(5, 18), [6, 3]),
        mask: [1, 1, 1, 0, 1, 1],
        sequences: [0, 1, 6],
      });
      const before = backend.statistics().liveBuffers;
      const value = loss.evaluate([routing, routing]);
      expect(value.shape).toEqual([]);
      value.dispose();
      expect(backend.statistics().liveBuffers).toBe(before);
    }
    expect(read).not.toHaveBeenCalled();
  });

  it("computes in float32 where the routing does", async () => {
    for (const loss of all) {
      const value = loss.evaluate([
        route({ experts: 3, logits: backend.tensor(draws(5, 12), { shape: [4, 3] }) }),
      ]);
      expect(value.dtype).toBe("f32");
      expect(Number.isFinite(await value.item())).toBe(true);
    }
  });

  it("refuses bad options and no layers, by name", () => {
    for (const make of [
      switchBalance,
      huggingFaceBalance,
      huggingFaceSwitchBalance,
      zLoss,
      importanceCv,
    ]) {
      expect(() => make({ coefficient: Number.NaN })).toThrow(/coefficient/);
      expect(() => make({ coefficient: 1 }).evaluate([])).toThrow(ConfigError);
    }
    const bad = {
      coefficient: 1,
      per: "token",
      counts: "all",
      probabilities: "p",
      from: "x",
      of: "y",
    };
    expect(() => switchBalance(bad as never)).toThrow(ConfigError);
    expect(() => switchBalance({ ...bad, per: "batch" } as never)).toThrow(/counts/);
    expect(() => huggingFaceBalance(bad as never)).toThrow(/from/);
    expect(() => importanceCv(bad as never)).toThrow(/of is y/);
  });
});

describe("totalLoss", () => {
  it("adds values by their coefficients to the main loss", async () => {
    const parts = [
      { name: "a", value: f64([3], []), coefficient: 0.5 },
      { name: "b", value: f64([10], []), coefficient: 0.01 },
    ];
    expect(await totalLoss(parts).item()).toBeCloseTo(1.6, 12);
    expect(await totalLoss(parts, f64([2], [])).item()).toBeCloseTo(3.6, 12);
    const main = f64([2], []);
    expect(totalLoss([], main)).toBe(main);
    expect(() => totalLoss([])).toThrow(ConfigError);
  });
});
