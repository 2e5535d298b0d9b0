import { baseRouter } from "../base.ts";
import type { RouterCatalogueOptions, RouterEntry } from "./entry.ts";
import { deepspeedTop1Router, deepspeedTop2Router, deepspeedTopKRouter } from "../deepspeed.ts";
import { expertChoiceRouter } from "../expert-choice.ts";
import { gshardRouter } from "../gshard.ts";
import { type LinearRouter, linearRouter } from "../linear-router.ts";
import { nllbRouter } from "../nllb.ts";
import { overflowRouter } from "../overflow.ts";
import { sinkhornRouter } from "../sinkhorn.ts";
import { softRouter } from "../soft.ts";
import { stMoeRouter } from "../st-moe.ts";
import { switchRouter } from "../switch.ts";
import { tutelRouter } from "../tutel.ts";
import { vmoeRouter } from "../vmoe.ts";

/** Routers whose tokens compete for places, are assigned together, or mixed. */
export const acrossCatalogue: readonly RouterEntry[] = [
  {
    name: "switchRouter",
    summary: "one expert; those behind its places are dropped",
    formula: "p_e of the best, 64 places per sequence",
    source: "Fedus et al. 2021; transformers modeling_switch_transformers.py",
    topK: 1,
    needs: ["key"],
    acrossTokens: true,
    causal: { rule: "position" },
    make: ({ hiddenSize, experts }) => switchRouter({ hiddenSize, numExperts: experts }),
  },
  {
    name: "gshardRouter",
    summary: "two experts, the second by chance; places by choice",
    formula: "p_e / (p₁ + p₂), second kept with min(1, 2 · g₂)",
    source: "Lepikhin et al. 2021",
    topK: 2,
    needs: ["key"],
    acrossTokens: true,
    causal: { rule: "greedy" },
    make: ({ hiddenSize, experts }) => gshardRouter({ hiddenSize, numExperts: experts }),
    makeCausal: ({ hiddenSize, experts }) =>
      gshardRouter({ hiddenSize, numExperts: experts, capacityFactor: experts }),
  },
  {
    name: "stMoeRouter",
    summary: "k experts, those behind the first by chance; places by choice",
    formula: "p_e / Σ p, kept with min(1, g / 0.2)",
    source: "Zoph et al. 2022; lucidrains/st-moe-pytorch",
    needs: ["key"],
    acrossTokens: true,
    causal: { rule: "greedy" },
    make: (options) => stMoe(options),
    makeCausal: (options) => stMoe(options, options.experts),
  },
  {
    name: "nllbRouter",
    summary: "two experts; places over the batch, by choice",
    formula: "p_e / Σ p over what found a place",
    source: "NLLB Team 2022; transformers modeling_nllb_moe.py",
    topK: 2,
    acrossTokens: true,
    causal: { rule: "greedy" },
    make: ({ hiddenSize, experts }) => nllbRouter({ hiddenSize, numExperts: experts }),
  },
  {
    name: "deepspeedTop1Router",
    summary: "one expert; its places are drawn by lot in training",
    formula: "p_e of the best",
    source: "DeepSpeed sharded_moe.py",
    topK: 1,
    needs: ["key"],
    acrossTokens: true,
    causal: { rule: "greedy" },
    make: ({ hiddenSize, experts }) => deepspeedTop1Router({ hiddenSize, numExperts: experts }),
    makeCausal: ({ hiddenSize, experts }) =>
      deepspeedTop1Router({ hiddenSize, numExperts: experts, dropTokens: false }),
  },
  {
    name: "deepspeedTop2Router",
    summary: "the best expert, and a second drawn from the others",
    formula: "p_e / Σ p over what found a place",
    source: "DeepSpeed sharded_moe.py",
    topK: 2,
    needs: ["key"],
    acrossTokens: true,
    causal: { rule: "greedy" },
    make: ({ hiddenSize, experts }) => deepspeedTop2Router({ hiddenSize, numExperts: experts }),
    makeCausal: ({ hiddenSize, experts }) =>
      deepspeedTop2Router({ hiddenSize, numExperts: experts, dropTokens: false }),
  },
  {
    name: "deepspeedTopKRouter",
    summary: "k experts; places go to the largest logits",
    formula: "p_e / Σ p over what found a place",
    source: "DeepSpeed sharded_moe.py",
    acrossTokens: true,
    causal: { rule: "greedy" },
    make: ({ hiddenSize, experts, topK }) =>
      deepspeedTopKRouter({ hiddenSize, numExperts: experts, k: topK }),
    makeCausal: ({ hiddenSize, experts, topK }) =>
      deepspeedTopKRouter({ hiddenSize, numExperts: experts, k: topK, dropTokens: false }),
  },
  {
    name: "tutelRouter",
    summary: "k experts; places by choice",
    formula: "p_e / Σ p, before dropping",
    source: "Hwang et al. 2022; Tutel fast_dispatch.py",
    acrossTokens: true,
    causal: { rule: "greedy" },
    make: (options) => tutel(options, 1),
    makeCausal: (options) => tutel(options, 0),
  },
  {
    name: "vmoeRouter",
    summary: "k experts of noisy logits; places by choice, in each sequence",
    formula: "p_e of softmax(l + ε / E)",
    source: "Riquelme et al. 2021; vmoe routing.py",
    needs: ["key"],
    acrossTokens: true,
    causal: { rule: "greedy" },
    make: ({ hiddenSize, experts, topK }) =>
      vmoeRouter({
        hiddenSize,
        numExperts: experts,
        numSelectedExperts: topK,
        capacityFactor: 1.05,
      }),
    makeCausal: (options) => dropless(options),
  },
  {
    name: "overflowRouter",
    summary: "what finds no place goes to the next best expert that has one",
    formula: "p_e; 1.25 times the even share of places",
    source: "FastMoE swipe_gate.py",
    acrossTokens: true,
    causal: { rule: "greedy" },
    make: ({ hiddenSize, experts, topK }) =>
      overflowRouter({
        hiddenSize,
        spec: {
          experts,
          topK,
          score: "softmax",
          capacity: { size: { factor: 1.25 }, per: "sequence", order: "position" },
        },
      }),
    makeCausal: (options) => dropless(options),
  },
  {
    name: "sinkhornRouter",
    summary: "chosen in a matrix that Sinkhorn's rounds make even, in training",
    formula: "chosen by diag(d₁) · e^l · diag(d₀); σ or softmax of l",
    source: "Clark et al. 2022; Megatron-LM router.py",
    acrossTokens: true,
    causal: { rule: "greedy" },
    make: ({ hiddenSize, experts, topK }) =>
      sinkhornRouter({ hiddenSize, numExperts: experts, topK }),
  },
  {
    name: "baseRouter",
    summary: "T/E tokens for each expert by a balanced assignment, in training",
    formula: "σ(l_e) · f(x) + (1 − σ(l_e)) · x with baseExperts",
    source: "Lewis et al. 2021; fairseq base_layer.py",
    topK: 1,
    acrossTokens: true,
    causal: { rule: "greedy" },
    make: ({ hiddenSize, experts }) => baseRouter({ hiddenSize, numExperts: experts }),
  },
  {
    name: "expertChoiceRouter",
    summary: "each expert takes its best tokens; by thresholds outside training",
    formula: "p_e of the k · T/E best tokens",
    source: "Zhou et al. 2022; vmoe routing.py",
    needs: ["controller"],
    acrossTokens: true,
    causal: { rule: "threshold" },
    make: ({ hiddenSize, experts, topK }) =>
      expertChoiceRouter({
        hiddenSize,
        numExperts: experts,
        capacity: { factor: topK },
        mode: "threshold",
      }),
  },
  {
    name: "softRouter",
    summary: "every slot a mixture of all tokens, every token of all slots",
    formula: "softmax over tokens, softmax over slots",
    source: "Puigcerver et al. 2023; vmoe soft_moe/router.py",
    needs: ["slots"],
    acrossTokens: true,
    causal: {
      rule: "none",
      reason: "a token's output is made of mixtures of the whole sequence, later tokens too",
    },
    make: ({ hiddenSize, experts, topK }) =>
      softRouter({ hiddenSize, numExperts: experts, numSlots: topK }),
  },
];

function stMoe(
  { hiddenSize, experts, topK }: RouterCatalogueOptions,
  evalFactor?: number,
): LinearRouter {
  const gatingTopN = Math.max(topK, 2);
  return stMoeRouter({
    hiddenSize,
    numExperts: experts,
    gatingTopN,
    capacityFactorEval: evalFactor,
  });
}

function tutel(
  { hiddenSize, experts, topK }: RouterCatalogueOptions,
  capacityFactor: number,
): LinearRouter {
  return tutelRouter({ hiddenSize, numGlobalExperts: experts, topK, capacityFactor });
}

/** The k best of a softmax, as they are. */
function dropless({ hiddenSize, experts, topK }: RouterCatalogueOptions): LinearRouter {
  return linearRouter({ inputSize: hiddenSize, spec: { experts, topK, score: "softmax" } });
}
