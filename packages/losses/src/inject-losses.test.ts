import { ConfigError, ShapeError, type Tensor, mul, sum, valueAndGrad } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { injectGradient, injectLosses, switchBalance } from "./index.ts";
import { backend, draws, f64, route, values } from "./testing/routings.ts";

const start = { x: f64([1, 2, 3]), y: f64([0.5, -1]) };
const auxiliary = (y: Tensor): Tensor => sum(mul(y, y));

describe("injectLosses", () => {
  it("leaves the value alone, and adds the gradient of the losses", async () => {
    const step = valueAndGrad((p: typeof start) => {
      const losses = [{ name: "a", value: auxiliary(p.y), coefficient: 0.25 }];
      return sum(mul(injectLosses(p.x, losses), 2));
    });
    const { loss, grads } = step(start);
    expect(await loss.item()).toBe(12);
    expect(await values(grads.x)).toEqual([2, 2, 2]);
    expect(await values(grads.y)).toEqual([0.25, -0.5]);
  });

  it("does not care what becomes of x, but for its own scale", async () => {
    const gradient = async (scale: number | Tensor, factor: number): Promise<number[]> => {
      const { grads } = valueAndGrad((p: typeof start) =>
        mul(sum(injectGradient(p.x, auxiliary(p.y), scale)), factor),
      )(start);
      return values(grads.y);
    };
    expect(await gradient(1, 1)).toEqual([1, -2]);
    expect(await gradient(1, 1000)).toEqual([1, -2]);
    expect(await gradient(3, 1000)).toEqual([3, -6]);
    expect(await gradient(f64([3], []), 7)).toEqual([3, -6]);
    expect(await gradient(backend.tensor([3]), 7)).toEqual([3, -6]);
  });

  it("gives the same gradient as a loss that is added", async () => {
    const logits = f64(draws(4, 12), [3, 4]);
    const balance = switchBalance({ coefficient: 0.01 });
    const gradientOf = async (inject: boolean): Promise<number[]> => {
      const { grads } = valueAndGrad((p: { logits: Tensor }) => {
        const routing = route({ experts: 4, k: 2, logits: p.logits });
        const value = balance.evaluate([routing]);
        const { outputWeights } = routing;
        const losses = [{ ...balance, value }];
        const weights = inject ? injectLosses(outputWeights, losses) : outputWeights;
        const main = sum(mul(weights, weights));
        return inject ? main : mul(value, 0.01);
      })({ logits });
      return values(grads.logits);
    };
    const plain = valueAndGrad((p: { logits: Tensor }) => {
      const { outputWeights } = route({ experts: 4, k: 2, logits: p.logits });
      return sum(mul(outputWeights, outputWeights));
    })({ logits });
    const [injected, alone, main] = [
      await gradientOf(true),
      await gradientOf(false),
      await values(plain.grads.logits),
    ];
    injected.forEach((slope, at) =>
      expect(slope).toBeCloseTo((alone[at] ?? Number.NaN) + (main[at] ?? Number.NaN), 14),
    );
  });

  it("is the identity outside a gradient, and leaves nothing behind", async () => {
    const loss = f64([5], []);
    const before = backend.statistics().liveBuffers;
    const same = injectGradient(start.x, loss);
    expect(await values(same)).toEqual([1, 2, 3]);
    same.dispose();
    const { loss: value, grads } = valueAndGrad((p: typeof start) =>
      sum(injectGradient(p.x, auxiliary(p.y), 2)),
    )(start);
    for (const tensor of [value, grads.x, grads.y]) tensor?.dispose();
    expect(backend.statistics().liveBuffers).toBe(before);
    expect(await values(start.x)).toEqual([1, 2, 3]);
  });

  it("refuses what is no scalar, and no losses", () => {
    expect(() => injectGradient(start.x, f64([1, 2]))).toThrow(ShapeError);
    expect(() => injectGradient(start.x, f64([1]), f64([1, 2]))).toThrow(ShapeError);
    expect(() => injectLosses(start.x, [])).toThrow(ConfigError);
  });
});
