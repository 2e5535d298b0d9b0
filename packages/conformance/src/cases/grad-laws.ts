import {
  type Tensor,
  add,
  crossEntropy,
  mean,
  mul,
  putAlong,
  rmsNorm,
  writeSlice,
} from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { LAYER_GRADIENT_OPS, FFN_GRADIENT_OPS } from "./grad-fused.ts";
import { floatsOf } from "./grad-layer.ts";
import { gradientCase, innerProductLaw, weighed } from "./grad-support.ts";
import { type Bank, GPT_OSS, USUAL, ffn, ffnHosts } from "./l3-ffn-support.ts";
import { ATTENTION_OPS, SINK_OPS, attend, attentionHosts } from "./l4-attention.ts";
import { routedHosts, runLayer } from "./l4-laws.ts";
import { type LayerOptions } from "./l4-layer-support.ts";
import { layerLoss } from "./l4-losses.ts";
import { LOSS_OPS, NORM_OPS } from "./l4-model.ts";
import type { CaseParts } from "./l3-support.ts";

const lawCase = (
  level: "L3" | "L4",
  what: string,
  ops: CaseParts["ops"],
  run: (test: CaseContext) => Promise<void>,
): ConformanceCase =>
  gradientCase(
    level,
    `inner-product-${what}`,
    `⟨Jv, u⟩ = ⟨v, Jᵀu⟩ for ${what}: the gradient is that of the function itself`,
    ops,
    run,
  );

const ffnLaw = (what: string, bank: Bank): ConformanceCase =>
  lawCase("L3", `experts-${what}`, FFN_GRADIENT_OPS, async (test) => {
    const shape = { tokens: 11, experts: 4, topK: 2, input: 8, inner: 6, output: 5 };
    const hosts = ffnHosts(test, bank, shape);
    const wrt = (["x", "outputWeights", "up", "down", "upBias", "downBias"] as const).filter(
      (name) => hosts[name],
    );
    await innerProductLaw(test, hosts, wrt, (given) => ffn(given, bank.descriptor));
  });

const layerLaw = (what: string, options: LayerOptions): ConformanceCase =>
  lawCase("L4", `layer-${what}`, LAYER_GRADIENT_OPS, async (test) => {
    const hosts = await routedHosts(test, options, 13);
    await innerProductLaw(test, hosts, floatsOf(hosts), (given, run) => {
      const { output, losses } = runLayer(given, options);
      return losses
        .map(({ value, coefficient }) => mul(value, coefficient))
        .reduce((total, one) => add(total, one), weighed(run, output));
    });
  });

const SHAPE = { experts: 5, topK: 2, input: 9, inner: 6 } as const;

/** The inner-product law, for parts and for whole layers. */
export const gradientLawCases: readonly ConformanceCase[] = [
  ffnLaw("gated", USUAL),
  ffnLaw("gpt-oss", GPT_OSS),
  ffnLaw("plain", { descriptor: { activation: "gelu" }, biases: "both" }),
  lawCase("L4", "attention", [...ATTENTION_OPS, writeSlice], async (test) => {
    const shape = { batch: 2, queries: 5, keys: 9, heads: 4, keyHeads: 2, width: 6 };
    await innerProductLaw(test, attentionHosts(test, shape), ["q", "k", "v"], (given) =>
      attend(given, { causal: true, position: 3 }),
    );
  }),
  lawCase("L4", "attention-sinks", [...SINK_OPS, writeSlice], async (test) => {
    const shape = { batch: 2, queries: 5, keys: 9, heads: 4, keyHeads: 2, width: 6 };
    const hosts = attentionHosts(test, shape, { sinks: test.random.normal([shape.heads]) });
    await innerProductLaw(test, hosts, ["q", "k", "v", "sinks"], (given) =>
      attend(given, { causal: true, position: 3, window: 4 }),
    );
  }),
  lawCase("L4", "norm-and-loss", [...NORM_OPS, ...LOSS_OPS, putAlong], async (test) => {
    const inputs = {
      x: test.random.normal([8, 12]),
      weight: test.random.uniform([12], 0.5, 1.5),
      targets: test.random.integers([8], 0, 11),
    };
    await innerProductLaw(test, inputs, ["x", "weight"], (given): Tensor => {
      const logits = rmsNorm(given.x, given.weight, { epsilon: 1e-5 });
      return mean(crossEntropy(logits, given.targets));
    });
  }),
  layerLaw("plain", { shape: SHAPE }),
  layerLaw("shared", { shape: SHAPE, merge: "gate" }),
  layerLaw("sigmoid", { shape: SHAPE, spec: { score: "sigmoid", scale: 1.5 } }),
  // The Switch loss is no function that one may differentiate: its counts jump. Importance is.
  layerLaw("losses", { shape: SHAPE, losses: [layerLoss("z", 0.3), layerLoss("importance", 2)] }),
];
