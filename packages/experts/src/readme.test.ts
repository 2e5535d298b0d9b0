import create from "@moiety/backend-cpu";
import { apply, moe, randomKey } from "@moiety/core";
import { linearRouter, mixtralRouter } from "@moiety/routers";
import { expect, it } from "vitest";
import { attentionExperts, glu, lora, moa, quantizedExperts, sharedExpert } from "./index.ts";

const backend = await create();

it("runs the README's first layer", async () => {
  const sizes = { hiddenSize: 4, intermediateSize: 8, activation: "silu" } as const;
  const layer = moe({
    router: mixtralRouter({ hiddenSize: 4, numLocalExperts: 8, numExpertsPerTok: 2 }),
    experts: glu({ ...sizes, experts: 8 }),
    shared: sharedExpert({ ...sizes, gated: true, merge: "gate" }),
  });
  const { params, state } = layer.init(randomKey(0), { backend });
  const x = backend.tensor([1, 0, 2, -1, 0, 3, 1, 1], { shape: [2, 4] });
  const values = [...(await apply(layer, params, state, x).output.read())];
  expect(values).toHaveLength(8);
  expect(values.every((value) => Number.isFinite(value) && value !== 0)).toBe(true);
});

it("adapts and merges as the README does", () => {
  const bank = glu({ experts: 4, hiddenSize: 8, intermediateSize: 16, activation: "silu" });
  const pretrained = bank.init(randomKey(0), { backend }).params;
  const adapted = lora(bank, { rank: 2, alpha: 4, targets: ["gateUp", "down"] });
  const params = adapted.adapt(pretrained, randomKey(1), { backend });
  const plain = adapted.merge(params);
  expect(plain.gateUp.shape).toEqual([4, 32, 8]);
});

it("quantises as the README does", async () => {
  const bank = glu({ experts: 4, hiddenSize: 32, intermediateSize: 64, activation: "silu" });
  const trained = bank.init(randomKey(0), { backend }).params;
  const small = quantizedExperts(bank, { format: "q4_block32" });
  const params = await small.quantize(trained);
  expect(params.gateUp.codes.shape).toEqual([4, 128, 16]);
});

it("attends as the README does", () => {
  const layer = moa({
    router: linearRouter({
      inputSize: 8,
      spec: { experts: 4, topK: 2, score: "identity", weight: "softmaxOfChosen" },
    }),
    experts: attentionExperts({
      experts: 4,
      hiddenSize: 8,
      numKeyValueHeads: 2,
      headDim: 4,
      ropeTheta: 10_000,
      outputBias: true,
    }),
  });
  const { params, state } = layer.init(randomKey(0), { backend });
  const x = backend.tensor(new Float32Array(2 * 5 * 8).fill(1), { shape: [2, 5, 8] });
  expect(apply(layer, params, state, x).output.shape).toEqual([2, 5, 8]);
});
