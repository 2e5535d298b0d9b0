import type { RouterEntry } from "./entry.ts";
import { moePlusPlusRouter } from "../moe-plus-plus.ts";
import { reluRouter } from "../relu.ts";
import { topPRouter } from "../top-p.ts";

/** Routers whose tokens take as many experts as they need. */
export const adaptiveCatalogue: readonly RouterEntry[] = [
  {
    name: "topPRouter",
    summary: "the fewest experts whose probabilities reach p = 0.5",
    formula: "p_e of the smallest set with Σ p ≥ 0.5",
    source: "Huang et al. 2024",
    acrossTokens: false,
    causal: { rule: "perToken" },
    make: ({ hiddenSize, experts, topK }) =>
      topPRouter({ hiddenSize, numExperts: experts, topP: 0.5, maxActive: topK }),
  },
  {
    name: "reluRouter",
    summary: "every expert above 0; a controller holds their number",
    formula: "relu(l_e)",
    source: "Wang et al. 2024 (ReMoE)",
    needs: ["controller"],
    acrossTokens: false,
    causal: { rule: "perToken" },
    make: ({ hiddenSize, experts }) => reluRouter({ hiddenSize, numExperts: experts }),
  },
  {
    name: "moePlusPlusRouter",
    summary: "FFNs beside two constant, one copy and one zero expert, which come last",
    formula: "p_e / Σ p without the zero expert",
    source: "Jin et al. 2024 (MoE++)",
    needs: ["specialExperts"],
    acrossTokens: false,
    causal: { rule: "perToken" },
    make: ({ hiddenSize, experts, topK }) =>
      moePlusPlusRouter({
        hiddenSize,
        numExperts: experts,
        numExpertsPerTok: topK,
        first: true,
      }),
  },
];
