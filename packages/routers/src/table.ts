import {
  type Choice,
  DTypeError,
  type RandomKey,
  type RouteSpec,
  type RouteStages,
  type Tensor,
  cast,
  foldIn,
  formatShape,
  full,
  gatherRows,
  less,
  sameShape,
  select,
} from "@moiety/core";
import { onlyWhere, weighPresent } from "./absent.ts";
import {
  type ExpertTable,
  type ExpertTableOptions,
  checkExpertTable,
  makeExpertTable,
} from "./expert-table.ts";
import { type NoParams, flatGate } from "./flat-gate.ts";
import type { Gate } from "./gate.ts";
import { type LinearGateParams, linearGate } from "./linear-gate.ts";
import { refuseOption } from "./option.ts";
import { type StageCall, type StagedRouter, stagedRouter } from "./staged-router.ts";
import { contextIds, idsWithin } from "./token-ids.ts";

/** Options of {@link tableRouter}. */
export interface TableRouterOptions<Params> {
  /** What the weights come from; its logits choose nothing. */
  readonly gate: Gate<Params>;
  /** Weights and capacity; `topK` is the width of the table. */
  readonly spec: RouteSpec;
  /** Number of token ids V. */
  readonly vocabSize: number;
  /** How each id gets its experts; `balanced` unless given. */
  readonly table?: ExpertTable | undefined;
  /** How often each id occurs, `[V]`, for a `balanced` table. All as often unless given. */
  readonly frequencies?: readonly number[] | undefined;
  /** `scores` (the spec's weights of the chosen; the default), or `equal`: 1/k · scale each. */
  readonly weights?: "scores" | "equal" | undefined;
}

/**
 * Makes a router that looks the experts of a token up by its id: `indices = table[tokenIds]`, with
 * weights from a gate, or equal ones. The table `[V, k]` is state under the name `table`, drawn on
 * the host by init; a float32 one, as files may hold it, is read as well. Needs
 * `context.tokenIds`. No token sees another.
 *
 * A token whose id is outside the table gets no expert, and weights 0: ids are on the device, where
 * nothing can be thrown. `requireTokenIds` refuses such ids while they are numbers.
 *
 * Paper: Roller et al., "Hash Layers For Large Sparse Models" (2021).
 * @throws ConfigError
 */
export function tableRouter<Params extends object>({
  gate,
  spec,
  weights = "scores",
  ...rest
}: TableRouterOptions<Params>): StagedRouter<Params> {
  const { experts, topK } = spec;
  const { table = "balanced", vocabSize, frequencies } = rest;
  const shape = [vocabSize, topK];
  const router = stagedRouter({
    gate,
    spec,
    stages: (call) => lookUp(call, spec, shape, weights),
  });
  if (spec.bias) throw refuseOption("spec.bias", true, "absent: a table chooses");
  if (!["scores", "equal"].includes(weights)) {
    throw refuseOption("weights", weights, "scores or equal");
  }
  const options: ExpertTableOptions = { table, vocabSize, experts, topK, frequencies };
  checkExpertTable(options);
  return {
    ...router,
    stateShapes: { ...router.stateShapes, table: shape },
    init(key, init) {
      const { params, state } = router.init(key, init);
      const rows = makeExpertTable(options, tableKey(key));
      return { params, state: { ...state, table: init.backend.tensor(rows, { shape }) } };
    },
  };
}

/** Options of {@link hashRouter}. */
export interface HashRouterOptions {
  /** H. */
  readonly hiddenSize: number;
  /** E. */
  readonly numExperts: number;
  /** k; 1 unless given. */
  readonly numExpertsPerTok?: number | undefined;
  /** Number of token ids V. */
  readonly vocabSize: number;
  /** `random`, `balanced` (the default), `modulo`, or the table's rows. */
  readonly hash?: ExpertTable | undefined;
  /** How often each id occurs, `[V]`, for `balanced`. */
  readonly frequencies?: readonly number[] | undefined;
}

/**
 * A hash layer: each token id has its k fixed experts, weighted 1/k each; nothing is learned, and
 * no loss is needed. See {@link tableRouter} for ids outside the table.
 *
 * Paper: Roller et al., "Hash Layers For Large Sparse Models" (2021): `random` and `balanced` hash.
 * @throws ConfigError
 */
export function hashRouter(options: HashRouterOptions): StagedRouter<NoParams> {
  const { hiddenSize, numExperts, numExpertsPerTok = 1, vocabSize, hash, frequencies } = options;
  return tableRouter({
    gate: flatGate({ experts: numExperts, inputSize: hiddenSize }),
    spec: { experts: numExperts, topK: numExpertsPerTok, score: "softmax" },
    vocabSize,
    table: hash,
    frequencies,
    weights: "equal",
  });
}

/** Options of {@link deepseekV4HashRouter}, by the names of Hugging Face's configuration. */
export interface DeepseekV4HashOptions {
  /** H. */
  readonly hiddenSize: number;
  /** E. */
  readonly nRoutedExperts: number;
  /** k. */
  readonly numExpertsPerTok: number;
  /** Number of token ids V. */
  readonly vocabSize: number;
  /** `tid2eid` `[V][k]`, or how to draw one; `balanced` unless given. */
  readonly table?: ExpertTable | undefined;
  /** `sqrtSoftplus` unless given. */
  readonly scoringFunc?: "softmax" | "sigmoid" | "sqrtSoftplus" | undefined;
  /** Factor of the weights; 1.5 unless given. */
  readonly routedScalingFactor?: number | undefined;
  /** Standard deviation of the initial weight; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/** The stages of DeepSeek-V4's hash layers; their choice comes from the table. */
export function deepseekV4HashSpec({
  nRoutedExperts,
  numExpertsPerTok,
  scoringFunc = "sqrtSoftplus",
  routedScalingFactor = 1.5,
}: Omit<DeepseekV4HashOptions, "hiddenSize" | "vocabSize" | "table">): RouteSpec {
  return {
    experts: nRoutedExperts,
    topK: numExpertsPerTok,
    score: scoringFunc,
    renormalize: { epsilon: 1e-20 },
    scale: routedScalingFactor,
  };
}

/**
 * The first layers of DeepSeek-V4: experts by the fixed table `tid2eid[id]`, weights
 * 1.5 · s_e / (Σ s + 1e-20) over them with s = √softplus(x · Wᵀ). See {@link tableRouter} for ids
 * outside the table.
 *
 * Source: transformers `modeling_deepseek_v4.py`, `DeepseekV4HashRouter`.
 * @throws ConfigError
 */
export function deepseekV4HashRouter(
  options: DeepseekV4HashOptions,
): StagedRouter<LinearGateParams> {
  const { hiddenSize, nRoutedExperts, vocabSize, table, initializerRange } = options;
  return tableRouter({
    gate: linearGate({ experts: nRoutedExperts, inputSize: hiddenSize, initializerRange }),
    spec: deepseekV4HashSpec(options),
    vocabSize,
    table,
  });
}

/** The key of a table's draws; the gate draws from the key itself. */
function tableKey(key: RandomKey): RandomKey {
  return foldIn(key, 0);
}

function lookUp(
  { context, state }: StageCall,
  spec: RouteSpec,
  shape: readonly number[],
  weights: "scores" | "equal",
): RouteStages {
  const table = requireTable(state["table"], shape);
  return {
    select({ logits }) {
      const ids = contextIds(context, "tokenIds", logits.shape[0] ?? 0);
      const [vocabSize = 0] = shape;
      return onlyWhere(idsWithin(ids, vocabSize), gatherRows(table, ids), spec.experts);
    },
    weight: (choice, attributes) =>
      weights === "equal" ? equalWeights(choice, spec) : weighPresent(choice, attributes),
  };
}

function equalWeights(
  { logits, indices }: Choice,
  { experts, topK, scale = 1 }: RouteSpec,
): Tensor {
  const each = full(logits.backend, indices.shape, scale / topK, logits.dtype);
  return select(less(indices, experts), each, 0);
}

function requireTable(table: Tensor | undefined, shape: readonly number[]): Tensor {
  if (table === undefined || !sameShape(table.shape, shape)) {
    const given = table ? formatShape(table.shape) : "missing";
    throw refuseOption(
      "state.table",
      given,
      `${formatShape(shape)}; pass the state that init made`,
    );
  }
  if (table.dtype === "i32") return table;
  if (table.dtype === "f32" || table.dtype === "f64") return cast(table, { dtype: "i32" });
  throw new DTypeError(`state.table is ${table.dtype}, which may round expert numbers; give i32`);
}
