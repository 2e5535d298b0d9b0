import type { RouteAttributes } from "@moiety/core";
import { F32, I32 } from "../../emit/scalars.ts";
import type { KernelCall, Operand } from "../../kernel.ts";
import type { Arguments, LaunchArguments } from "../../routine.ts";
import { paddedBytes } from "../reduction/lanes.ts";

/** What a spec's stages are told by, each a number: see {@link planRoute}. */
export type RouteParameters = {
  readonly [
    K in
      | "logits"
      | "tokens"
      | "experts"
      | "k"
      | "perTask"
      | "room"
      | "roomBytes"
      | "squashes"
      | "score"
      | "weight"
      | "norm"
      | "guard"
  ]: typeof I32;
} & {
  readonly [K in "temperature" | "softcap" | "epsilon" | "power" | "root" | "scale"]: typeof F32;
};

/** The same in a routine. */
export type RouteArguments = Arguments<RouteParameters>;

/** What each of them is. */
export const ROUTE_PARAMETERS: RouteParameters = {
  logits: I32,
  tokens: I32,
  experts: I32,
  k: I32,
  perTask: I32,
  room: I32,
  roomBytes: I32,
  squashes: I32,
  score: I32,
  weight: I32,
  norm: I32,
  guard: I32,
  temperature: F32,
  softcap: F32,
  epsilon: F32,
  power: F32,
  root: F32,
  scale: F32,
};

/** Numbers of the score stage's kinds. */
export const SCORES: Readonly<Record<RouteAttributes["score"], number>> = {
  softmax: 0,
  sigmoid: 1,
  sqrtSoftplus: 2,
  identity: 3,
};
/** Numbers of the weight stage's kinds. */
export const WEIGHTS: Readonly<Record<NonNullable<RouteAttributes["weight"]>, number>> = {
  scores: 0,
  softmaxOfChosen: 1,
  sigmoidOfChosen: 2,
};
/** How weights are normalised: not at all, by their sum, or by the norm of another order. */
export const NORMS = { none: 0, sum: 1, power: 2 } as const;
/** What is done about a norm of 0. */
export const GUARDS = { none: 0, add: 1, max: 2 } as const;

/** Rows of one number for each expert that a task has room for. */
const ROOM_ROWS = 5;
/** Elements of one task; a choice and a token count like several. */
const GRAIN = 8192;
const CHOICE_COST = 8;
const TOKEN_COST = 16;
/** Tasks of one launch, each of which has its own room. */
const MOST_TASKS = 256;

/** The arguments of a launch, and its tasks. */
export interface RoutePlan {
  readonly args: LaunchArguments<RouteParameters>;
  readonly tasks: number;
}

/** Reads a spec. Weights that are normalised after capacity leave here raw, and are scaled there. */
export function planRoute(call: KernelCall, logits: Operand): RoutePlan {
  const spec = call.attributes<RouteAttributes>();
  const [tokens = 0, experts = 0] = logits.shape;
  const { topK: k, temperature = 1, softcap, renormalize } = spec;
  const cost = experts + CHOICE_COST * k + TOKEN_COST;
  const perTask = Math.max(1, Math.floor(GRAIN / cost), Math.ceil(tokens / MOST_TASKS));
  const tasks = Math.ceil(tokens / perTask);
  const roomBytes = ROOM_ROWS * paddedBytes(experts);
  const isLater = renormalize?.when === "after";
  const { p = 1, epsilon } = renormalize ?? {};
  const args = {
    logits: logits.address,
    tokens,
    experts,
    k,
    perTask,
    room: call.temporary(tasks * roomBytes),
    roomBytes,
    squashes: Number(temperature !== 1 || softcap !== undefined),
    score: SCORES[spec.score],
    weight: WEIGHTS[spec.weight ?? "scores"],
    norm: normOf(spec),
    guard: epsilon === undefined ? GUARDS.none : GUARDS[renormalize?.guard ?? "add"],
    temperature,
    softcap: softcap ?? 0,
    epsilon: epsilon === "machine" ? 2 ** -23 : (epsilon ?? 0),
    power: p,
    root: 1 / p,
    scale: isLater ? 1 : (spec.scale ?? 1),
  };
  return { args, tasks };
}

function normOf({ renormalize, topK }: RouteAttributes): number {
  if (!renormalize || renormalize.when === "after") return NORMS.none;
  if (renormalize.skipSingle && topK === 1) return NORMS.none;
  return (renormalize.p ?? 1) === 1 ? NORMS.sum : NORMS.power;
}
