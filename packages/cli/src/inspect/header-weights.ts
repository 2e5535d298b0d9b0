import type { JsonObject, TensorInfo } from "@moiety/checkpoints";
import type { Weight } from "./weight.ts";

/** Routed experts, one by one or stacked; shared experts have other names. */
const EXPERTS = /\.experts\./;
const ROUTER = /\.(?:gate|router)\.(?:weight|bias)$/;
const EMBEDDING = /(?:^|\.)(?:embed_tokens|wte|word_embeddings|embeddings)\.weight$/;
const HEAD = /(?:^|\.)lm_head\.weight$/;
/** Scales that stand beside the tensors whose values they scale. */
const SCALES = /_scales$|_scale_inv$|_scale$/;
/** Bytes that hold two codes each. */
const PAIRS = /_blocks$/;

/** What the common keys of configurations say of experts. */
export interface CommonKeys {
  readonly experts: number | null;
  readonly chosen: number | null;
}

/** Reads them. */
export function commonKeys(config: JsonObject): CommonKeys {
  const first = (...keys: readonly string[]): number | null => {
    const values = keys.map((key) => config[key]);
    return values.find((value): value is number => typeof value === "number") ?? null;
  };
  return {
    experts: first("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"),
    chosen: first("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k"),
  };
}

/** The weights of a model that is not built, by the names in its headers. */
export function headerWeights(
  tensors: Iterable<TensorInfo>,
  { experts, chosen }: CommonKeys,
): Weight[] {
  const infos = [...tensors].filter(({ name }) => !SCALES.test(name));
  const hasHead = infos.some(({ name }) => HEAD.test(name));
  const share = experts !== null && chosen !== null ? chosen / experts : undefined;
  return infos.map(({ name, shape }): Weight => {
    const ofExperts = EXPERTS.test(name);
    const isMatrix = shape.length >= 2 && !ROUTER.test(name);
    return {
      shape: PAIRS.test(name) ? joined(shape) : shape,
      kind: !isMatrix ? "kept" : ofExperts ? "experts" : "matrix",
      used: ofExperts ? share : 1,
      isLookup: EMBEDDING.test(name) && hasHead,
    };
  });
}

/** The shape of the values behind blocks of pairs of codes, `[…, blocks, bytes]`. */
function joined(shape: readonly number[]): number[] {
  const [blocks = 1, bytes = 1] = shape.slice(-2);
  return [...shape.slice(0, -2), blocks * bytes * 2];
}
