import {
  type Assigned,
  type CapacitySpec,
  type RouteAttributes,
  type RouteContext,
  type RouteSpec,
  type RouteStages,
  type Selection,
  type Tensor,
  type TokenChoice,
  applyCapacity,
  pad,
  select,
  slice,
  topK,
} from "@moiety/core";
import { changeRouting } from "./change-routing.ts";
import type { Gate } from "./gate.ts";
import { refuseOption } from "./option.ts";
import {
  type ConstantState,
  type StageCall,
  type StagedRouter,
  stagedRouter,
} from "./staged-router.ts";

/** Options of {@link adaptiveRouter}. */
export interface AdaptiveRouterOptions<Params> {
  readonly gate: Gate<Params>;
  /** Score, weights and capacity. Its choices are replaced, so it has no `topK`. */
  readonly spec: Omit<RouteSpec, "topK" | "bias" | "groups">;
  /** The most experts that may run for a token; E unless given. */
  readonly maxActive?: number | undefined;
  /**
   * `[T, E]` scores by falling value → `[T, E]` bool: which of them are active. The true ones come
   * first.
   */
  active(sorted: Tensor, selection: Selection): Tensor;
  /** Own score and weight stages. */
  readonly stages?: Pick<RouteStages, "score" | "weight"> | undefined;
  readonly constants?: Readonly<Record<string, ConstantState>> | undefined;
}

/** A router whose tokens take as many experts as they need. */
export interface AdaptiveRouter<Params> extends StagedRouter<Params> {
  /** The most experts that run for a token. */
  readonly maxActive: number;
}

/**
 * Makes a router with a varying count. Its routings have `selected [T, E]`, all experts that are
 * active, by falling score, with `E` behind them; and `indices [T, maxActive]`, those that run: what
 * is smallest beyond `maxActive` is dropped, and counted, since loads read `selected`. A capacity
 * counts `maxActive` as k.
 * @throws ConfigError
 */
export function adaptiveRouter<Params extends object>(
  options: AdaptiveRouterOptions<Params>,
): AdaptiveRouter<Params> {
  const { gate, spec, constants } = options;
  const { experts } = spec;
  const { maxActive = experts } = options;
  if (!Number.isSafeInteger(maxActive) || maxActive < 1 || maxActive > experts) {
    throw refuseOption("maxActive", maxActive, `a whole number from 1 to ${experts}`);
  }
  const router = stagedRouter({
    gate,
    spec: { ...spec, topK: experts },
    constants,
    stages: (call) => ({
      ...options.stages,
      select: (selection, attributes) => selectActive(options, selection, attributes),
      capacity: (assigned) => dropBeyond(assigned, maxActive, experts, spec.capacity, call),
    }),
  });
  return {
    ...changeRouting(router, (routing) => narrow(routing, maxActive)),
    maxActive,
  };
}

/** `[T, E]` i32: the active experts by falling score, then `E`. */
function selectActive<Params>(
  { active, spec: { experts } }: AdaptiveRouterOptions<Params>,
  selection: Selection,
  { selectBy }: RouteAttributes,
): Tensor {
  const compared = selectBy === "logits" ? selection.logits : selection.scores;
  const [values, indices] = topK(compared, undefined, { k: experts });
  return select(active(values, selection), indices, experts);
}

function dropBeyond(
  { indices, weights }: Assigned,
  maxActive: number,
  experts: number,
  capacity: CapacitySpec | undefined,
  { context, key }: StageCall,
): Tensor {
  if (maxActive === experts && !capacity) return indices;
  const first = firstColumns(indices, maxActive);
  const inner: RouteContext = { ...context, key };
  const placed = capacity
    ? applyCapacity(capacity, first, firstColumns(weights, maxActive), experts, inner)
    : first;
  return pad(placed, { before: [0, 0], after: [0, experts - maxActive], value: experts });
}

function narrow(routing: TokenChoice, maxActive: number): TokenChoice {
  const { indices, outputWeights, inputWeights } = routing;
  return {
    ...routing,
    indices: firstColumns(indices, maxActive),
    outputWeights: firstColumns(outputWeights, maxActive),
    inputWeights: inputWeights && firstColumns(inputWeights, maxActive),
    maxActive,
  };
}

function firstColumns(x: Tensor, count: number): Tensor {
  const [rows = 0, columns = 0] = x.shape;
  return count === columns ? x : slice(x, { starts: [0, 0], sizes: [rows, count] });
}
