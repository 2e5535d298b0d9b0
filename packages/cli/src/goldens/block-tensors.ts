import {
  type RouteSpec,
  type Tensor,
  type TokenChoice,
  add,
  concat,
  full,
  greater,
  less,
  loadOf,
  matmul,
  oneHot,
  putAlong,
  routeTokens,
  select,
  slice,
  sum,
  zerosLike,
} from "@moiety/core";
import type { LeafTree, RouterConfig } from "@moiety/models";
import { nllbPlaces, productKeyHalves } from "@moiety/routers";

/** What a block's recorded tensors beside output and gradients are made of. */
export interface BlockRouting {
  readonly routing: TokenChoice;
  /** `[T, H]` what was routed. */
  readonly x: Tensor;
  readonly router: RouterConfig;
  /** The router's parameters. */
  readonly params: LeafTree;
  readonly spec: RouteSpec;
  /** `[E]`, where the router has one. */
  readonly selectionBias: Tensor | undefined;
}

/** Tensors that only some families record, by name. Where one has no such tensor, `undefined`. */
export const blockTensors: Readonly<Record<string, (from: BlockRouting) => Tensor | undefined>> = {
  /** NLLB: `[T, E]` the weights of the choices that found a place, 0 elsewhere. */
  combine_weights: ({ routing: { indices, outputWeights, logits } }) =>
    putAlong(zerosLike(logits), indices, outputWeights, { axis: 1 }),
  /** Switch: `[B, T, E]`, 1 where a token found its place with an expert. */
  dispatch_mask: ({ routing: { indices, experts } }) => sum(oneHot(indices, experts, "i32"), [1]),
  /** NLLB: places of each expert. */
  expert_capacity_used({ routing, router }) {
    if (router.kind !== "nllb") return undefined;
    const places = nllbPlaces(router, false, routing.logits.shape[0] ?? 0);
    return full(routing.logits.backend, [], places, "i32");
  },
  /** Switch: `[B, T]` the expert of each token, 0 for one that was dropped. */
  expert_index_returned: ({ routing: { indices, experts, sequences = [0, indices.size] } }) =>
    select(less(indices, experts), indices, 0).reshape([sequences.length - 1, -1]),
  /** Granite, JetMoE: `[E]` assignments of each expert. */
  expert_size: ({ routing }) => loadOf(routing),
  /** Doge records the halves of its sums, `[2, T, K]`. */
  router_logits({ routing, x, router, params }) {
    if (router.kind !== "doge") return routing.logits;
    const product = matmul(x, params["weight"] as Tensor, { transposeB: true });
    const [first, second] = productKeyHalves(product, router.halves ?? "view");
    return concat(first, second, { axis: 0 });
  },
  router_probs: ({ routing }) => routing.scores,
  /** DeepSeek-V3: what the choice compares, with 0 in the groups that are not among the best. */
  scores_for_choice({ routing: { scores, logits }, spec, selectionBias }) {
    const biased = selectionBias ? add(scores, selectionBias) : scores;
    if (spec.groups === undefined) return biased;
    // A choice of as many experts as the best groups have finds all of theirs.
    const topK = (spec.groups.topK * spec.experts) / spec.groups.count;
    const all = { ...spec, topK, groups: { ...spec.groups, fill: "mask" as const } };
    const { capacity: _, ...dropless } = all;
    const { selected } = routeTokens(dropless, { logits, bias: selectionBias });
    return select(greater(sum(oneHot(selected, spec.experts, "i32"), [1]), 0), biased, 0);
  },
  /** NLLB: `[T]` the first choice of each token, 0 where it was dropped. */
  top_1_expert_index_returned({ routing: { experts, ...routing } }) {
    const first = firstChoice(routing.indices);
    return select(less(first, experts), first, 0).reshape([first.size]);
  },
  /** NLLB: `[T, E]`, 1 where the first choice found its place. */
  top_1_mask: ({ routing: { indices, experts } }) =>
    sum(oneHot(firstChoice(indices), experts, "i32"), [1]),
};

function firstChoice(indices: Tensor): Tensor {
  return slice(indices, { starts: [0, 0], sizes: [indices.shape[0] ?? 0, 1] });
}
