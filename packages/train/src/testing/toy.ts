import {
  type Backend,
  type FloatDType,
  type RandomKey,
  type RouteSpec,
  type Tensor,
  add,
  cast,
  foldIn,
  hostNormal,
  loadOf,
  matmul,
  mean,
  moeFfn,
  mul,
  normal,
  randomKey,
  routeTokens,
  sign,
  square,
  sub,
} from "@moiety/core";
import type { Control, LossResult } from "../loss.ts";
import type { Optimizer } from "../optimizer.ts";
import { type TrainingSnapshot, startTraining } from "../snapshot.ts";

/** A layer of 4 experts that learns to imitate a linear map: the smallest run with all parts. */
export interface ToyParams {
  readonly router: { readonly weight: Tensor };
  readonly experts: { readonly up: Tensor; readonly down: Tensor };
  readonly ids: Tensor;
}

/** A selection bias that a controller moves. */
export interface ToyState {
  readonly layers: readonly { readonly bias: Tensor }[];
}

/** Inputs and targets. */
export interface ToyBatch {
  readonly x: Tensor;
  readonly target: Tensor;
}

const [TOKENS, WIDTH, HIDDEN, EXPERTS, CHOICES] = [12, 6, 5, 4, 2];

const spec: RouteSpec = {
  experts: EXPERTS,
  topK: CHOICES,
  score: "sigmoid",
  bias: true,
  renormalize: { epsilon: 1e-20 },
};

/** Assignments in one step of one micro-batch. */
export const toyAssignments: number = TOKENS * CHOICES;

/** Draws parameters and starts a run. */
export function startToy(
  backend: Backend,
  optimizer: Optimizer,
  steps: number,
  dtype: FloatDType = "f32",
): TrainingSnapshot<ToyParams, ToyState> {
  const key = randomKey(7);
  const draw = (number: number, shape: readonly number[]): Tensor => {
    const values = hostNormal(
      foldIn(key, number),
      shape.reduce((a, b) => a * b),
    );
    return backend.tensor(
      Array.from(values, (value) => value * 0.4),
      { shape, dtype },
    );
  };
  return startTraining<ToyParams, ToyState>({
    params: {
      router: { weight: draw(1, [EXPERTS, WIDTH]) },
      experts: { up: draw(2, [EXPERTS, HIDDEN, WIDTH]), down: draw(3, [EXPERTS, WIDTH, HIDDEN]) },
      ids: backend.tensor(Int32Array.of(3, 1, 2)),
    },
    state: { layers: [{ bias: backend.tensor(new Array(EXPERTS).fill(0), { dtype }) }] },
    optimizer,
    steps,
    key,
  });
}

/** The batch of a step: drawn from its number alone. */
export function toyBatch(backend: Backend, step: number, microBatch = 0): ToyBatch {
  const key = foldIn(foldIn(randomKey(11), step), microBatch);
  const x = Array.from(hostNormal(key, TOKENS * WIDTH));
  const target = x.map((value, index) => 0.5 * value - 0.25 * (x[index + 1] ?? 0));
  const shape = [TOKENS, WIDTH];
  return { x: backend.tensor(x, { shape }), target: backend.tensor(target, { shape }) };
}

/** Mean squared error, with a little noise on the input that comes from the key. */
export function toyLoss(
  params: ToyParams,
  state: ToyState,
  { x, target }: ToyBatch,
  key: RandomKey,
): LossResult {
  const noise = normal(x.backend, { key, shape: x.shape, dtype: "f32" });
  const noisy = cast(add(x, mul(noise, 0.01)), { dtype: params.router.weight.dtype });
  const logits = matmul(noisy, params.router.weight, { transposeB: true });
  const routing = routeTokens(spec, { logits, bias: state.layers[0]?.bias });
  const output = moeFfn(
    noisy,
    routing.indices,
    routing.outputWeights,
    params.experts.up,
    params.experts.down,
    undefined,
    undefined,
    undefined,
    undefined,
    undefined,
    { descriptor: { activation: "silu" } },
  );
  const error = mean(square(sub(output, cast(target, { dtype: output.dtype }))));
  const size = mean(square(logits));
  return {
    loss: add(error, mul(size, 0.001)),
    parts: { error, size },
    loads: [loadOf(routing)],
    routings: [routing],
    tokens: x.shape[0],
  };
}

/** DeepSeek-V3's rule: the bias of busy experts falls, that of idle ones rises. */
export const toyControl: Control<ToyState> = (state, loads) => ({
  layers: state.layers.map(({ bias }, layer) => {
    const load = cast(loads[layer] as Tensor, { dtype: bias.dtype });
    return { bias: add(bias, mul(sign(sub(mean(load), load)), 0.01)) };
  }),
});
