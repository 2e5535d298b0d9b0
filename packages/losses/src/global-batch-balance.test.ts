import { ConfigError, DTypeError, ShapeError, type Tensor, type TokenChoice } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { accumulateLoads, globalBatchBalance, megatronBalance, switchBalance } from "./index.ts";
import {
  backend,
  checkGradient,
  draws,
  f64,
  i32,
  route,
  towards,
  values,
} from "./testing/routings.ts";

const coefficient = 1;
const evaluate = (routing: TokenChoice, others?: readonly Tensor[]): Promise<number> =>
  globalBatchBalance({ coefficient, others }).evaluate([routing]).item();

describe("globalBatchBalance", () => {
  it("is Megatron's for a step of one micro-batch", async () => {
    const routing = route({ experts: 4, k: 2, logits: f64(draws(2, 24), [6, 4]) });
    const wanted = await megatronBalance({ coefficient }).evaluate([routing]).item();
    expect(await evaluate(routing)).toBeCloseTo(wanted, 14);
    expect(await evaluate(routing, [i32([0, 0, 0, 0])])).toBeCloseTo(wanted, 14);
  });

  it("sees counts of the whole step, so that a micro-batch may specialise", async () => {
    const first = route({ experts: 2, logits: towards([0, 0, 0], 2) });
    const second = route({ experts: 2, logits: towards([1, 1, 1], 2) });
    expect(await switchBalance({ coefficient }).evaluate([first]).item()).toBeCloseTo(2, 9);
    expect(await evaluate(first, accumulateLoads(undefined, [second]))).toBeCloseTo(1, 9);
    // f = [1/4, 3/4] and P = [0, 1].
    expect(await evaluate(second, [i32([1, 0])])).toBeCloseTo(1.5, 9);
  });

  it("is the whole batch's where micro-batches are averaged", async () => {
    const data = draws(7, 32);
    const parts = [0, 1].map((part) =>
      route({ experts: 4, k: 2, logits: f64(data.slice(part * 16, part * 16 + 16), [4, 4]) }),
    );
    const [first, second] = parts as [TokenChoice, TokenChoice];
    const mean =
      ((await evaluate(first, accumulateLoads(undefined, [second]))) +
        (await evaluate(second, accumulateLoads(undefined, [first])))) /
      2;
    const whole = route({ experts: 4, k: 2, logits: f64(data, [8, 4]) });
    expect(mean).toBeCloseTo(await evaluate(whole), 12);
  });

  it("has the gradient of its value, counts held constant", async () => {
    const loss = globalBatchBalance({
      coefficient,
      others: [i32([5, 0, 1, 2])],
      target: [0.1, 0.2, 0.3, 0.4],
    });
    const data = draws(9, 16);
    const routings = (layers: readonly Tensor[]): TokenChoice[] =>
      layers.map((logits) =>
        route({ experts: 4, k: 2, score: "sigmoid", logits, mask: [1, 0, 1, 1] }),
      );
    await checkGradient(loss, [data], routings, [4, 4]);
  });
});

describe("accumulateLoads", () => {
  it("adds layer by layer, changes nothing, and leaves padding out", async () => {
    const layers = [0, 1].map((expert) =>
      route({ experts: 3, logits: towards([expert, expert, 2], 3), mask: [1, 1, 0] }),
    );
    const before = [i32([1, 0, 0]), i32([0, 0, 7])];
    const live = backend.statistics().liveTensors;
    const after = accumulateLoads(before, layers);
    expect(backend.statistics().liveTensors).toBe(live + 2);
    expect(await Promise.all(after.map(values))).toEqual([
      [3, 0, 0],
      [0, 2, 7],
    ]);
    expect(await Promise.all(before.map(values))).toEqual([
      [1, 0, 0],
      [0, 0, 7],
    ]);
    expect(await Promise.all(accumulateLoads(undefined, layers).map(values))).toEqual([
      [2, 0, 0],
      [0, 2, 0],
    ]);
  });

  it("counts the plain best scores, or what was selected", async () => {
    const base = route({ experts: 3, logits: towards([0, 0], 3) });
    const biased = { ...base, selected: i32([1, 2], [2, 1]) };
    const [plain] = accumulateLoads(undefined, [biased]);
    expect(await values(plain)).toEqual([2, 0, 0]);
    const [selected] = accumulateLoads(undefined, [biased], { counts: "selected" });
    expect(await values(selected)).toEqual([0, 1, 1]);
  });

  it("refuses what does not fit", () => {
    const routing = route({ experts: 3, logits: towards([0, 0], 3) });
    for (const call of [
      (others: Tensor[]) => accumulateLoads(others, [routing]),
      (others: Tensor[]) => globalBatchBalance({ coefficient, others }).evaluate([routing]),
    ]) {
      expect(() => call([])).toThrow(ConfigError);
      expect(() => call([i32([1, 2])])).toThrow(ShapeError);
      expect(() => call([f64([1, 2, 3])])).toThrow(DTypeError);
    }
    const counts = "all" as "plain";
    expect(() => accumulateLoads(undefined, [routing], { counts })).toThrow(/counts is all/);
    expect(() => globalBatchBalance({ coefficient, counts })).toThrow(/counts is all/);
  });
});
