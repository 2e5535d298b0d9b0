import {
  type AnyOp,
  type ExpertBank,
  type FfnDescriptor,
  type FfnWeights,
  type MoeLayer,
  type NoState,
  type RouteSpec,
  type Router,
  type RoutingLoss,
  type SharedBranch,
  type Tensor,
  bankRows,
  fill,
  fusedFfn,
  gelu,
  matmul,
  moe,
  normalParameter,
  routeTokens,
  splitKey,
  takeAlong,
  topK,
} from "@moiety/core";
import type { CaseRandom } from "../random.ts";
import type { HostTensor } from "../host-tensor.ts";
import { type Bank, FFN_OPS, type FfnShape, USUAL, bankHosts } from "./l3-ffn-support.ts";

/** Parameters of a linear router: `[E, H]`. */
export interface RouterParams {
  readonly weight: Tensor;
}

/** Parameters of a shared branch: two projections and, where it merges by a gate, that. */
export interface SharedParams {
  readonly up: Tensor;
  readonly down: Tensor;
  readonly gate?: Tensor | undefined;
}

/** Sizes and kind of a layer. */
export interface LayerOptions {
  readonly shape: Omit<FfnShape, "tokens">;
  readonly bank?: Bank | undefined;
  readonly spec?: Partial<RouteSpec> | undefined;
  readonly merge?: SharedBranch<SharedParams>["merge"] | undefined;
  readonly losses?: readonly RoutingLoss[] | undefined;
  /** Choices that are played back instead of made. */
  readonly indices?: Tensor | undefined;
  /** Rows instead of the fused op. */
  readonly plain?: boolean | undefined;
}

/** A layer of the kit. */
export type KitLayer = MoeLayer<RouterParams, NoState, FfnWeights, SharedParams | undefined>;

/** The spec that a layer has unless told otherwise. */
function specOf({ shape, spec }: Pick<LayerOptions, "shape" | "spec">): RouteSpec {
  const { experts, topK: k } = shape;
  return { experts, topK: k, score: "softmax", renormalize: { epsilon: 1e-9 }, ...spec };
}

/** A router whose logits are one product. */
export function linearRouter(
  { shape, spec }: Pick<LayerOptions, "shape" | "spec">,
  indices?: Tensor,
): Router<RouterParams> {
  const { experts, input } = shape;
  const stages = indices && { select: (): Tensor => indices };
  return {
    experts,
    inputSize: input,
    acrossTokens: false,
    init: (key, options) => ({
      params: { weight: normalParameter(key, [experts, input], 0.5, options) },
      state: {},
    }),
    route: ({ weight }, _state, x, context) =>
      routeTokens(
        specOf({ shape, spec }),
        { logits: matmul(x, weight, { transposeB: true }) },
        context,
        stages,
      ),
  };
}

/** A bank whose maths is an FFN; `plain` hides that, so that it runs on rows. */
export function ffnBank(
  descriptor: FfnDescriptor,
  { experts, input, inner, output = input }: LayerOptions["shape"],
  plain = false,
): ExpertBank<FfnWeights> {
  const hidden = descriptor.gate ? 2 * inner : inner;
  const matrix = (rows: number, columns: number): number[] =>
    descriptor.transposed ? [experts, columns, rows] : [experts, rows, columns];
  return {
    experts,
    inputSize: input,
    outputSize: output,
    init(key, options) {
      const [up = key, down = key] = splitKey(key, 2);
      return {
        params: {
          up: normalParameter(up, matrix(hidden, input), 0.3, options),
          down: normalParameter(down, matrix(output, inner), 0.3, options),
        },
        state: {},
      };
    },
    forward: (params, rows) => bankRows(rows, params, descriptor),
    ...(!plain && { ffn: (params: FfnWeights) => fusedFfn(descriptor, params) }),
  };
}

function sharedBranch(merge: SharedBranch<SharedParams>["merge"]): SharedBranch<SharedParams> {
  const project = (x: Tensor, weight: Tensor): Tensor => matmul(x, weight, { transposeB: true });
  return {
    merge,
    init: () => ({ params: {} as SharedParams, state: {} }),
    forward: ({ up, down }, x) => project(gelu(project(x, up)), down),
    gate: ({ gate }, x) => project(x, gate as Tensor),
  };
}

/** The layer. */
export function layerOf(options: LayerOptions): KitLayer {
  const { shape, bank = USUAL, merge, losses, indices, plain } = options;
  return moe<RouterParams, NoState, FfnWeights, SharedParams | undefined>({
    router: linearRouter(options, indices),
    experts: ffnBank(bank.descriptor, shape, plain),
    shared: merge && (sharedBranch(merge) as SharedBranch<SharedParams | undefined>),
    losses,
  });
}

/** Parameters of a layer on the host. */
export type LayerHosts = {
  readonly router: HostTensor;
  readonly up: HostTensor;
  readonly down: HostTensor;
  readonly upBias: HostTensor | undefined;
  readonly downBias: HostTensor | undefined;
  readonly sharedUp: HostTensor | undefined;
  readonly sharedDown: HostTensor | undefined;
  readonly sharedGate: HostTensor | undefined;
};

/** The same on a backend. */
export type LayerTensors = {
  readonly [Name in keyof LayerHosts]: LayerHosts[Name] extends HostTensor
    ? Tensor
    : Tensor | undefined;
};

/** Draws a layer's parameters; router weights so large that choices are clear. */
export function layerHosts(
  random: CaseRandom,
  { shape, bank = USUAL, merge }: LayerOptions,
): LayerHosts {
  const { experts, input, output = input } = shape;
  const width = 6;
  const gates = merge === "gate" ? 1 : 2;
  return {
    router: random.normal([experts, input], 1.5 / Math.sqrt(input)),
    ...bankHosts(random, bank, shape),
    sharedUp: merge && random.normal([width, input], 0.4),
    sharedDown: merge && random.normal([output, width], 0.4),
    sharedGate:
      merge === "gate" || merge === "softmax2" ? random.normal([gates, input], 0.4) : undefined,
  };
}

/** The parameter tree of a layer. */
export function layerParams(given: LayerTensors): Parameters<KitLayer["route"]>[0] {
  const { router, up, down, upBias, downBias, sharedUp, sharedDown, sharedGate } = given;
  return {
    router: { weight: router },
    experts: { up, down, upBias, downBias },
    shared: sharedUp && sharedDown && { up: sharedUp, down: sharedDown, gate: sharedGate },
  };
}

/** The ops of a layer that is taken apart, its own routing included. */
export const LAYER_OPS: readonly AnyOp[] = [...FFN_OPS, fill, matmul, takeAlong, topK];
