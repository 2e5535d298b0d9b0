import { ConfigError } from "@moiety/core";
import type { RouterCatalogueOptions, RouterEntry } from "./entry.ts";
import { cosineRouter } from "../cosine-gate.ts";
import { zayaRouter } from "../depth-averaged-gate.ts";
import { hierarchicalRouter } from "../hierarchical.ts";
import { gemma4Router } from "../normed-gate.ts";
import { dogeRouter } from "../product-key-gate.ts";
import { deepseekV4HashRouter, hashRouter } from "../table.ts";
import { learnedTableRouter } from "../token-gate.ts";

/** Routers behind gates that are not one linear layer. */
export const gateCatalogue: readonly RouterEntry[] = [
  {
    name: "hashRouter",
    summary: "fixed experts of each token id; nothing is learned",
    formula: "table[id], 1/k each",
    source: "Roller et al. 2021",
    needs: ["tokenIds"],
    acrossTokens: false,
    causal: { rule: "perToken" },
    make: ({ hiddenSize, experts, topK, vocabSize }) =>
      hashRouter({
        hiddenSize,
        numExperts: experts,
        numExpertsPerTok: topK,
        vocabSize: requireVocabulary("hashRouter", vocabSize),
      }),
  },
  {
    name: "deepseekV4HashRouter",
    summary: "fixed experts of each token id, weighted by a learned gate",
    formula: "1.5 · s_e / Σ s with s = √softplus(l), chosen by table[id]",
    source: "transformers modeling_deepseek_v4.py",
    needs: ["tokenIds"],
    acrossTokens: false,
    causal: { rule: "perToken" },
    make: ({ hiddenSize, experts, topK, vocabSize }) =>
      deepseekV4HashRouter({
        hiddenSize,
        nRoutedExperts: experts,
        numExpertsPerTok: topK,
        vocabSize: requireVocabulary("deepseekV4HashRouter", vocabSize),
      }),
  },
  {
    name: "learnedTableRouter",
    summary: "learned logits of each token id",
    formula: "p_e / Σ p with p = softmax(table[id])",
    source: "Roller et al. 2021, as a table that learns",
    needs: ["tokenIds"],
    acrossTokens: false,
    causal: { rule: "perToken" },
    make: ({ hiddenSize, experts, topK, vocabSize }) =>
      learnedTableRouter({
        hiddenSize,
        vocabSize: requireVocabulary("learnedTableRouter", vocabSize),
        spec: { experts, topK, score: "softmax", renormalize: {} },
      }),
  },
  {
    name: "hierarchicalRouter",
    summary: "a group first, then experts within it",
    formula: "P(group) · P(e in group)",
    source: "Jordan & Jacobs 1994; Shazeer et al. 2017, appendix B",
    acrossTokens: false,
    causal: { rule: "perToken" },
    make: (options) => hierarchicalRouter(twoLevels(options)),
  },
  {
    name: "cosineRouter",
    summary: "cosines of a projection with a direction of each expert",
    formula: "softmax(cos(x · Wᵀ + b, s_e) · e^t)",
    source: "Chi et al. 2022; Tutel cosine_top.py",
    acrossTokens: false,
    causal: { rule: "perToken" },
    make: ({ hiddenSize, experts, topK }) =>
      cosineRouter({ hiddenSize, numExperts: experts, numExpertsPerTok: topK }),
  },
  {
    name: "gemma4Router",
    summary: "a normed input, and a learned factor of each expert",
    formula: "γ_e · p_e / Σ p with l = (rmsNorm(x) ⊙ s / √H) · Wᵀ",
    source: "transformers modeling_gemma4.py",
    acrossTokens: false,
    causal: { rule: "perToken" },
    make: ({ hiddenSize, experts, topK }) =>
      gemma4Router({ hiddenSize, numExperts: experts, topKExperts: topK }),
  },
  {
    name: "dogeRouter",
    summary: "E = K² experts by sums of 2 · K product keys, of each token's own halves",
    formula: "softmax over the chosen of a_i + b_j",
    source: "Lample et al. 2019; transformers modeling_doge.py",
    acrossTokens: false,
    causal: { rule: "perToken" },
    make: ({ hiddenSize, experts, topK }) =>
      dogeRouter({ hiddenSize, numExperts: experts, numExpertsPerTok: topK, halves: "token" }),
  },
  {
    name: "zayaRouter",
    summary: "a small network on a state averaged over depth; the last expert skips",
    formula: "p_e of mlp(rmsNorm(s)), s = x · Wᵀ + b + γ ⊙ s'",
    source: "transformers modeling_zaya.py",
    needs: ["controller", "specialExperts"],
    acrossTokens: false,
    causal: { rule: "perToken" },
    make: ({ hiddenSize, experts, topK }) =>
      zayaRouter({ hiddenSize, numExperts: experts - 1, numExpertsPerTok: topK, first: true }),
  },
];

function requireVocabulary(name: string, vocabSize: number | undefined): number {
  if (vocabSize !== undefined) return vocabSize;
  throw new ConfigError(
    `${name} goes by token ids: give vocabSize, their number`,
    "vocabSize",
    vocabSize,
  );
}

/** As many groups as come near √E; one of them for each token. */
function twoLevels({
  hiddenSize,
  experts,
  topK,
}: RouterCatalogueOptions): Parameters<typeof hierarchicalRouter>[0] {
  const divides = (count: number): boolean => experts % count === 0 && experts / count >= topK;
  let groups = Math.max(Math.floor(Math.sqrt(experts)), 1);
  while (groups > 1 && !divides(groups)) groups--;
  return {
    inputSize: hiddenSize,
    levels: [
      { spec: { experts: groups, topK: 1, score: "softmax" } },
      { spec: { experts: experts / groups, topK, score: "softmax" } },
    ],
  };
}
