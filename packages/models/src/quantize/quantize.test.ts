import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type Backend,
  type Leaf,
  type QuantizedTensor,
  type Tensor,
  apply,
  at,
  isTensor,
  leavesOf,
  randomKey,
  roundsActivations,
} from "@moiety/core";
import { generate } from "../generate.ts";
import { initModel } from "../init-model.ts";
import type { ReadyModel } from "../load.ts";
import { blockConfig, dequantized, likeliest, quantizedBackends } from "../testing/quantized.ts";
import { tokens } from "../testing/tiny.ts";
import { type ExpertFormat, expertFormats } from "./quantization.ts";
import { quantize } from "./quantize.ts";

const FORMATS = Object.keys(expertFormats) as ExpertFormat[];
const PROMPT = [3, 1, 4, 1];
/** Roundings of float32 that two orders of the same sums may differ by, of the largest logit. */
const ROUNDINGS = 16 * 2 ** -23;

async function continued({ model, params, state }: ReadyModel, count: number): Promise<number[]> {
  const found: number[] = [];
  const options = { maxNewTokens: count };
  for await (const token of generate(model, params, state, PROMPT, options)) found.push(token);
  return found;
}

const kinds = ({ params }: ReadyModel): Map<string, string> =>
  new Map(leavesOf(params).map(({ path, leaf }) => [path, isTensor(leaf) ? leaf.dtype : "codes"]));

describe.each(Object.keys(quantizedBackends))("a quantised model on %s", (name) => {
  let backend: Backend;
  let ready: ReadyModel;

  beforeAll(async () => {
    backend = await (quantizedBackends[name] as () => Promise<Backend>)();
    ready = initModel(blockConfig, randomKey(5), { backend });
  });

  afterAll(() => backend.dispose());

  const plain = FORMATS.filter((format) => !roundsActivations(expertFormats[format]));

  it.each(plain)("computes what the numbers of its codes do: %s", async (experts) => {
    const small = await quantize(ready, { experts });
    const wide = dequantized(small, experts);
    const ids = tokens(backend, 2, 7);
    const got = apply(small.model, small.params, small.state, ids);
    const wanted = apply(wide.model, wide.params, wide.state, ids);
    const [logits, reference] = [await got.logits.read(), await wanted.logits.read()];
    const budget = Math.max(...reference.map(Math.abs)) * ROUNDINGS;
    for (const [index, value] of reference.entries()) {
      expect(Math.abs((logits[index] ?? Number.NaN) - value)).toBeLessThanOrEqual(budget);
    }
    expect(got.loads.length).toBe(2);
    for (const [layer, load] of got.loads.entries()) {
      expect([...(await load.read())]).toEqual([...(await (wanted.loads[layer] as Tensor).read())]);
    }
  });

  it.each(FORMATS)("goes on with its cache as without one: %s", async (experts) => {
    const small = await quantize(ready, { experts });
    expect(await continued(small, 6)).toEqual(await likeliest(small, PROMPT, 6));
  });

  it.each(["f16", "bf16"] as const)("holds the rest in %s", async (rest) => {
    const small = await quantize(ready, { experts: "q8_32", rest });
    expect(Object.fromEntries(kinds(small))).toMatchObject({
      embedding: rest,
      head: rest,
      norm: "f32",
      "layers.0.dense.gateUp": rest,
      "layers.1.attention.query": rest,
      "layers.1.attention.queryBias": "f32",
      "layers.1.moe.experts.down": "codes",
      "layers.1.moe.router.weight": "f32",
      "layers.1.moe.shared.ffn.down": rest,
      "layers.1.moe.shared.gate": "f32",
    });
    const ids = tokens(backend, 1, 5);
    const { logits } = apply(small.model, small.params, small.state, ids);
    expect(logits.dtype).toBe("f32");
    const reference = apply(ready.model, ready.params, ready.state, ids).logits;
    const [found, wanted] = [await logits.read(), await reference.read()];
    // Half a step of bf16 is 2^-9 of a number; of sums of many it is less.
    const budget = Math.max(...wanted.map(Math.abs)) * 2 ** -5;
    for (const [index, value] of wanted.entries()) {
      expect(Math.abs((found[index] ?? Number.NaN) - value)).toBeLessThanOrEqual(budget);
    }
    expect(await continued(small, 6)).toEqual(await likeliest(small, PROMPT, 6));
  });

  it("holds experts in halves where only the rest has a dtype, and takes f32 back", async () => {
    const small = await quantize(ready, { rest: "f16" });
    expect(kinds(small).get("layers.1.moe.experts.gateUp")).toBe("f16");
    expect(await continued(small, 3)).toEqual(await likeliest(small, PROMPT, 3));
    const wide = await quantize(small, { rest: "f32" });
    expect(kinds(wide)).toEqual(kinds(ready));
    expect(await continued(wide, 3)).toEqual(await continued(small, 3));
    // Codes of halves are those of the same numbers in full.
    const both = await quantize(small, { experts: "q4_32" });
    const direct = await quantize(wide, { experts: "q4_32" });
    const codesOf = async ({ params }: ReadyModel): Promise<number[]> => {
      const { codes } = at(params, "layers.1.moe.experts.down") as QuantizedTensor;
      return [...(await codes.read())];
    };
    expect(await codesOf(both)).toEqual(await codesOf(direct));
  });

  it("frees each leaf as soon as its codes stand", async () => {
    const given = initModel(blockConfig, randomKey(6), { backend });
    const bytesOf = (leaf: Leaf): number =>
      isTensor(leaf)
        ? leaf.size * 4
        : leaf.codes.size + leaf.scales.size * (leaf.scales.dtype === "u8" ? 1 : 4);
    const sumOf = ({ params }: ReadyModel): number =>
      leavesOf(params).reduce((total, { leaf }) => total + bytesOf(leaf), 0);
    const [before, held] = [backend.statistics().liveBytes, sumOf(given)];
    const small = await quantize(given, { experts: "q4_32", donate: true });
    expect(before - backend.statistics().liveBytes).toBe(held - sumOf(small));
    expect(await continued(small, 3)).toEqual(await likeliest(small, PROMPT, 3));
  });
});

it("reads codes as they are on wasm, also for a single token", async () => {
  const backend = await (quantizedBackends["wasm"] as () => Promise<Backend>)();
  const small = await quantize(initModel(blockConfig, randomKey(5), { backend }), {
    experts: "q4_32",
  });
  backend.resetRecord();
  expect(await continued(small, 4)).toHaveLength(4);
  const { moeFfn, dequantize } = backend.record();
  // Two layers with experts; the prompt is one call, each further token another.
  expect(moeFfn).toEqual({ kernel: 2 * 4, decomposed: 0 });
  expect(dequantize).toBeUndefined();
  await backend.dispose();
});
