import {
  type RouteSpec,
  type Selection,
  type Tensor,
  add,
  arange,
  broadcast,
  concat,
  mul,
  neg,
  slice,
  softmax,
  softplus,
  takeAlong,
  topK,
} from "@moiety/core";
import { type LinearGateParams, linearGate } from "./linear-gate.ts";
import { refuseOption, requireWhole } from "./option.ts";
import { type StagedRouter, stagedRouter } from "./staged-router.ts";

/** Options of {@link inklingRouter}, by the names of Hugging Face's configuration. */
export interface InklingOptions {
  /** H. */
  readonly hiddenSize: number;
  /** Experts that tokens choose from. */
  readonly nRoutedExperts: number;
  /** Experts that every token takes; their numbers follow. */
  readonly nSharedExperts: number;
  /** Choices among the routed experts. */
  readonly numExpertsPerTok: number;
  /** Factor of the weights; 8 unless given. */
  readonly routeScale?: number | undefined;
  /** Standard deviation of the initial weight; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/** Inkling's stages over all experts: k counts the shared ones, which are always chosen. */
export function inklingSpec({
  nRoutedExperts,
  nSharedExperts,
  numExpertsPerTok,
  routeScale = 8,
}: Omit<InklingOptions, "hiddenSize" | "initializerRange">): RouteSpec {
  return {
    experts: nRoutedExperts + nSharedExperts,
    topK: numExpertsPerTok + nSharedExperts,
    score: "sigmoid",
    renormalize: {},
    scale: routeScale,
  };
}

/**
 * Inkling's router: s = σ(x · Wᵀ) over routed and shared experts; the k best routed ones by s + b,
 * and every shared one; weights `routeScale` · s_e / Σ s over all of these together, so that shared
 * experts compete with the chosen ones. A bank holds the shared experts behind the routed ones. The
 * bias b `[nRoutedExperts]` is state under the name `routedBias`. No token sees another.
 *
 * Source: transformers `modeling_inkling.py`, `InklingTopkRouter`; its learned `global_scale` is a
 * factor of the whole output, and so the bank's.
 * @throws ConfigError
 */
export function inklingRouter(options: InklingOptions): StagedRouter<LinearGateParams> {
  const { hiddenSize, nRoutedExperts: routed, nSharedExperts: shared } = options;
  const { numExpertsPerTok: choices, initializerRange } = options;
  requireWhole("nSharedExperts", shared);
  if (!(choices <= routed)) {
    throw refuseOption("numExpertsPerTok", choices, `at most the ${routed} routed experts`);
  }
  const spec = inklingSpec(options);
  return stagedRouter({
    gate: linearGate({ experts: spec.experts, inputSize: hiddenSize, initializerRange }),
    spec,
    constants: { routedBias: { shape: [routed], value: 0 } },
    stages: ({ state }) => ({
      select: (selection) => chooseRouted(selection, state["routedBias"], routed, choices),
      // σ / Σ σ as a softmax of log σ: nothing is divided by a sum that has vanished.
      weight({ logits, indices }) {
        const chosen = takeAlong(logits, indices, { axis: 1, unique: true });
        return mul(softmax(neg(softplus(neg(chosen)))), spec.scale ?? 1);
      },
    }),
  });
}

/** The best routed experts, then all shared ones: `[T, k]` i32. */
function chooseRouted(
  { scores }: Selection,
  bias: Tensor | undefined,
  routed: number,
  choices: number,
): Tensor {
  const [tokens = 0, experts = 0] = scores.shape;
  const own = slice(scores, { starts: [0, 0], sizes: [tokens, routed] });
  const best = topK(bias ? add(own, bias) : own, undefined, { k: choices })[1];
  const shared = experts - routed;
  const others = add(arange(scores.backend, shared), routed).reshape([1, shared]);
  return concat(best, broadcast(others, { shape: [tokens, shared] }), { axis: 1 });
}
