import type { RouterEntry } from "./entry.ts";
import { deepseekV3Router } from "../deepseek-v3.ts";
import { forcedBalanceRouter } from "../forced-balance.ts";
import { inklingRouter } from "../inkling.ts";
import { megatronRouter } from "../megatron.ts";
import { mixtralRouter } from "../mixtral.ts";
import { noisyTopKRouter } from "../noisy-top-k.ts";
import { qwenMoeRouter } from "../qwen-moe.ts";
import { reinforceRouter } from "../reinforce.ts";
import { sparseMixerRouter } from "../sparse-mixer.ts";

/** Routers with a linear gate whose tokens see nobody else. */
export const perTokenCatalogue: readonly RouterEntry[] = [
  {
    name: "mixtralRouter",
    summary: "the k best of a softmax, divided by their sum",
    formula: "p_e / Σ p",
    source: "Jiang et al. 2024; transformers modeling_mixtral.py",
    acrossTokens: false,
    causal: { rule: "perToken" },
    make: ({ hiddenSize, experts, topK }) =>
      mixtralRouter({ hiddenSize, numLocalExperts: experts, numExpertsPerTok: topK }),
  },
  {
    name: "qwenMoeRouter",
    summary: "the k best of a softmax, as they are",
    formula: "p_e of softmax(x · Wᵀ)",
    source: "Yang et al. 2025; transformers modeling_qwen3_moe.py",
    acrossTokens: false,
    causal: { rule: "perToken" },
    make: ({ hiddenSize, experts, topK }) =>
      qwenMoeRouter({ hiddenSize, numExperts: experts, numExpertsPerTok: topK }),
  },
  {
    name: "megatronRouter",
    summary: "the k best logits, and a softmax over those alone",
    formula: "softmax(l_chosen)",
    source: "Megatron-LM moe_utils.py",
    acrossTokens: false,
    causal: { rule: "perToken" },
    make: ({ hiddenSize, experts, topK }) =>
      megatronRouter({ hiddenSize, numMoeExperts: experts, moeRouterTopk: topK }),
  },
  {
    name: "deepseekV3Router",
    summary: "sigmoid scores, chosen with a bias that a controller moves",
    formula: "2.5 · σ(l_e) / Σ σ, chosen by σ(l_e) + b_e",
    source: "DeepSeek-AI 2024; transformers modeling_deepseek_v3.py",
    needs: ["controller"],
    acrossTokens: false,
    causal: { rule: "perToken" },
    make: ({ hiddenSize, experts, topK }) =>
      deepseekV3Router({
        hiddenSize,
        nRoutedExperts: experts,
        numExpertsPerTok: topK,
        nGroup: 1,
        topkGroup: 1,
      }),
  },
  {
    name: "inklingRouter",
    summary: "weights shared between the chosen and a shared expert, the last",
    formula: "8 · σ(l_e) / Σ σ over chosen and shared",
    source: "transformers modeling_inkling.py",
    needs: ["controller"],
    acrossTokens: false,
    causal: { rule: "perToken" },
    make: ({ hiddenSize, experts, topK }) =>
      inklingRouter({
        hiddenSize,
        nRoutedExperts: experts - 1,
        nSharedExperts: 1,
        numExpertsPerTok: Math.max(topK - 1, 1),
      }),
  },
  {
    name: "noisyTopKRouter",
    summary: "the k best of logits with learned noise in training",
    formula: "softmax over the chosen of l + ε · (softplus(x · Wₙ) + 0.01)",
    source: "Shazeer et al. 2017",
    needs: ["key"],
    acrossTokens: false,
    causal: { rule: "perToken" },
    make: ({ hiddenSize, experts, topK }) =>
      noisyTopKRouter({ hiddenSize, numExperts: experts, numExpertsPerTok: topK }),
  },
  {
    name: "sparseMixerRouter",
    summary: "two draws from masked softmaxes, with Heun's gradient of the choice",
    formula: "p_e of each draw",
    source: "Liu et al. 2024; transformers modeling_phimoe.py",
    topK: 2,
    needs: ["key"],
    acrossTokens: false,
    causal: { rule: "perToken" },
    make: ({ hiddenSize, experts }) => sparseMixerRouter({ hiddenSize, numLocalExperts: experts }),
  },
  {
    name: "reinforceRouter",
    summary: "experts drawn by chance, learned from rewards against a baseline",
    formula: "1/k each; −(reward − b) · ∇ log π by reinforceLoss",
    source: "Williams 1992; Clark et al. 2022",
    needs: ["key", "reward"],
    acrossTokens: false,
    causal: { rule: "perToken" },
    make: ({ hiddenSize, experts, topK }) =>
      reinforceRouter({ hiddenSize, numExperts: experts, numExpertsPerTok: topK }),
  },
  {
    name: "forcedBalanceRouter",
    summary: "experts by turns, for tests and benchmarks",
    formula: "(n · k + j) mod E for the n-th token",
    source: "MegaBlocks; torchtitan",
    acrossTokens: false,
    causal: { rule: "position" },
    make: ({ hiddenSize, experts, topK }) =>
      forcedBalanceRouter({
        inputSize: hiddenSize,
        spec: { experts, topK, score: "softmax" },
      }),
  },
];
