import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import { type Backend, ShapeError, apply, randomKey } from "@moiety/core";
import { causalLoss, modelLoss } from "./causal-loss.ts";
import { emptyCache } from "./decoder/cache.ts";
import { initModel } from "./init-model.ts";
import { tinyConfigs, tokens } from "./testing/tiny.ts";

let backend: Backend;

beforeAll(async () => {
  backend = await create();
});

afterAll(() => backend.dispose());

const logits = [2, 0, 1, 0, 3, 0, 1, 1, 1, 0, 0, 5];
const entropy = (row: number, target: number): number => {
  const values = logits.slice(3 * row, 3 * row + 3);
  return (
    Math.log(values.reduce((total, value) => total + Math.exp(value), 0)) - (values[target] ?? 0)
  );
};

describe("causalLoss", () => {
  const scores = () => backend.tensor(Float64Array.from(logits), { shape: [2, 2, 3] });
  const ids = () => backend.tensor(Int32Array.of(0, 2, 1, 1), { shape: [2, 2] });

  it("is the mean cross-entropy of the next token", async () => {
    const expected = (entropy(0, 2) + entropy(2, 1)) / 2;
    expect(await causalLoss(scores(), ids()).item()).toBeCloseTo(expected, 12);
  });

  it("does not predict padding", async () => {
    const right = backend.tensor([true, true, true, false], { shape: [2, 2] });
    expect(await causalLoss(scores(), ids(), right).item()).toBeCloseTo(entropy(0, 2), 12);
    // What stands behind left padding is predicted, as in Hugging Face's loss.
    const left = backend.tensor([true, false, false, true], { shape: [2, 2] });
    expect(await causalLoss(scores(), ids(), left).item()).toBeCloseTo(entropy(2, 1), 12);
  });

  it("is 0 where everything is padding", async () => {
    const nothing = backend.tensor([true, false, true, false], { shape: [2, 2] });
    expect(await causalLoss(scores(), ids(), nothing).item()).toBe(0);
  });

  it("refuses sequences that predict nothing and shapes that do not fit", () => {
    const one = backend.tensor(Int32Array.of(1, 2), { shape: [2, 1] });
    expect(() => causalLoss(scores(), one)).toThrow(ShapeError);
    const single = backend.tensor(new Float64Array(6), { shape: [2, 1, 3] });
    expect(() => causalLoss(single, one)).toThrow(/at least two tokens/);
  });
});

describe("modelLoss", () => {
  it("adds routing losses times their coefficients", async () => {
    const { model, params, state } = initModel(
      { ...tinyConfigs["qwen3_moe"], router_aux_loss_coef: 0.25 },
      randomKey(1),
      { backend, dtype: "f64" },
    );
    const ids = tokens(backend, 2, 5);
    const output = apply(model, params, state, ids);
    const { loss, crossEntropy, losses } = modelLoss(output, ids);
    const [balance] = losses;
    expect(balance).toMatchObject({ name: "huggingFaceBalance", coefficient: 0.25 });
    const expected = (await crossEntropy.item()) + 0.25 * ((await balance?.value.item()) ?? 0);
    expect(await loss.item()).toBeCloseTo(expected, 12);
  });

  it("refuses the output of a cached call", () => {
    const { model, params, state } = initModel(tinyConfigs["qwen3_moe"] ?? {}, randomKey(1), {
      backend,
    });
    const ids = tokens(backend, 1, 3);
    const cache = emptyCache(model.config, { backend, capacity: 4 });
    expect(() => modelLoss(apply(model, params, state, ids, { cache }), ids)).toThrow(/cache/);
  });
});
