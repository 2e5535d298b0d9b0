import {
  ConfigError,
  type GradientsOf,
  type RandomKey,
  type Routing,
  type Tensor,
  add,
  donate,
  foldIn,
  mul,
  valueAndGrad,
} from "@moiety/core";
import { addGradients, meanGradients } from "./accumulate.ts";
import type { LossResult } from "./loss.ts";
import { type TrainOptions, microBatchesOf } from "./options.ts";
import { disposeTree } from "./owned.ts";
import type { TrainingSnapshot } from "./snapshot.ts";

/** Gradients and reports of one step, averaged over its micro-batches. All of it is to be freed. */
export interface StepGradients<Params> {
  readonly grads: GradientsOf<Params>;
  readonly loss: Tensor;
  readonly parts: Readonly<Record<string, Tensor>>;
  readonly loads: readonly Tensor[];
  /** `[layer][micro-batch]`. */
  readonly routings: readonly (readonly Routing[])[];
  readonly tokens: number | undefined;
}

/** Runs forward and backward over the micro-batches of a step. */
export async function gradientsOf<Params, State, Batch>(
  options: TrainOptions<Params, State, Batch>,
  snapshot: TrainingSnapshot<Params, State>,
): Promise<StepGradients<Params>> {
  const { params, step, key } = snapshot;
  const count = microBatchesOf(options.microBatches);
  let total: StepGradients<Params> | undefined;
  try {
    for (let microBatch = 0; microBatch < count; microBatch++) {
      const batch = await options.batch(step, microBatch);
      try {
        const drawn = foldIn(foldIn(key, step), microBatch);
        const one = evaluate(options, snapshot, batch, drawn);
        total = total === undefined ? one : joined(params, total, one);
      } finally {
        disposeTree(batch);
      }
    }
  } catch (error) {
    disposeTree(total);
    throw error;
  }
  if (total === undefined) throw new ConfigError("a step has no batch", "microBatches", count);
  return averaged(params, total, count);
}

function evaluate<Params, State, Batch>(
  { loss, frozen }: TrainOptions<Params, State, Batch>,
  { params, state }: TrainingSnapshot<Params, State>,
  batch: Batch,
  key: RandomKey,
): StepGradients<Params> {
  const evaluated = valueAndGrad(
    (traced: Params) => {
      const {
        loss: value,
        parts = {},
        loads = [],
        routings = [],
        tokens,
      }: LossResult = loss(traced, state, batch, key);
      const layers = routings.map((routing) => [routing]);
      return { loss: value, aux: { parts, loads, routings: layers, tokens } };
    },
    { frozen },
  )(params);
  return { grads: evaluated.grads, loss: evaluated.loss, ...evaluated.aux };
}

function joined<Params>(
  params: Params,
  total: StepGradients<Params>,
  one: StepGradients<Params>,
): StepGradients<Params> {
  const names = Object.keys(total.parts);
  const isOther = (key: "loads" | "routings"): boolean => total[key].length !== one[key].length;
  if (names.join() !== Object.keys(one.parts).join() || isOther("loads") || isOther("routings")) {
    disposeTree(one);
    throw new ConfigError(
      "the loss function reported other parts or loads for one micro-batch than for another; " +
        "report the same names and layers each time",
      "parts",
      Object.keys(one.parts),
    );
  }
  const plus = (a: Tensor, b: Tensor | undefined): Tensor => {
    if (b === undefined) return a;
    const sum = add(donate(a), b);
    b.dispose();
    return sum;
  };
  return {
    grads: addGradients(params, total.grads, one.grads),
    loss: plus(total.loss, one.loss),
    parts: mapRecord(total.parts, (part, name) => plus(part, one.parts[name])),
    loads: total.loads.map((load, layer) => plus(load, one.loads[layer])),
    routings: total.routings.map((seen, layer) => [...seen, ...(one.routings[layer] ?? [])]),
    tokens:
      total.tokens === undefined || one.tokens === undefined
        ? undefined
        : total.tokens + one.tokens,
  };
}

function averaged<Params>(
  params: Params,
  total: StepGradients<Params>,
  count: number,
): StepGradients<Params> {
  if (count === 1) return total;
  const mean = (tensor: Tensor): Tensor => mul(donate(tensor), 1 / count);
  return {
    ...total,
    grads: meanGradients(params, total.grads, count),
    loss: mean(total.loss),
    parts: mapRecord(total.parts, mean),
  };
}

function mapRecord(
  record: Readonly<Record<string, Tensor>>,
  map: (tensor: Tensor, name: string) => Tensor,
): Record<string, Tensor> {
  return Object.fromEntries(
    Object.entries(record).map(([name, tensor]) => [name, map(tensor, name)]),
  );
}
