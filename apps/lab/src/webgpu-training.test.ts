import createCpu from "@moiety/backend-cpu";
import createWebGpu from "@moiety/backend-webgpu";
import { compareValues, createYardstick } from "@moiety/conformance";
import {
  type Backend,
  type HostArray,
  type Shape,
  type Tensor,
  apply,
  leavesOf,
  mapTree,
  randomKey,
  valueAndGrad,
} from "@moiety/core";
import type { DecoderParams } from "@moiety/models";
import { describe, expect, it } from "vitest";
import { requireWebGpu } from "../../../packages/backend-webgpu/src/testing/adapter.ts";
import { trainingBatches } from "./batches.ts";
import { createLearner, lossOf, upload } from "./learner.ts";
import { modelOf } from "./model-config.ts";
import { newSettings } from "./settings.ts";
import { loadText } from "./text.ts";

const gpu = await requireWebGpu();

/** Steps of the oracle's training. */
const STATES = 12;
/** Of its parameter states those at which the backends are compared. */
const COMPARED: readonly number[] = [0, 1, 3, 7, 11];
/** How far the losses of two free runs may drift apart. */
const DRIFT = 1e-3;
/**
 * How far an element may be off, as a share of the largest of its tensor. The kit's budget alone is
 * too wide to say much behind two layers with attention: bounds are handed on linearly.
 */
const SHARE = 1e-3;

type Float = "f32" | "f64";

/** A leaf's values on the host. */
interface HostLeaf {
  readonly data: HostArray;
  readonly shape: Shape;
}
/** Parameters, or loss and gradients, by path. */
type HostTree = ReadonlyMap<string, HostLeaf>;

const defaults = newSettings({ preset: "small" });
const training = { ...defaults.training, batchSize: 1, sequenceLength: 24 };
const settings = { ...defaults, text: null, textDigest: "", training };
const { domains } = loadText(null, training.sequenceLength);
const batchOf = trainingBatches(settings, domains);
const configured = modelOf("sparse", settings);
const { model } = configured;

async function hostTree(tree: unknown): Promise<HostTree> {
  const leaves = leavesOf(tree).map(async ({ path, leaf }) => {
    const tensor = leaf as Tensor;
    return [path, { data: await tensor.read(), shape: tensor.shape }] as const;
  });
  return new Map(await Promise.all(leaves));
}

/** Trains freely: the loss of every step, and the parameters before it. */
async function train(backend: Backend): Promise<{ losses: number[]; states: HostTree[] }> {
  const learner = createLearner("sparse", configured, settings, randomKey(1), backend);
  const start = learner.start(STATES);
  const losses: number[] = [];
  const states = [await hostTree(start.params)];
  for await (const { loss, snapshot } of learner.learn(start, batchOf)) {
    losses.push(loss);
    states.push(await hostTree(snapshot.params));
  }
  return { losses, states: states.slice(0, STATES) };
}

/** Choices of every layer with experts. */
type Choices = readonly HostLeaf[];

/** One state and batch on a backend. */
async function place(backend: Backend, float: Float, state: HostTree, step: number) {
  const { params: form, state: empty } = model.init(randomKey(1), { backend });
  const params = mapTree(form, (_, path): Tensor => {
    const { data, shape } = state.get(path) as HostLeaf;
    return backend.tensor(data as Float32Array, { shape, dtype: float });
  }) as DecoderParams;
  for (const { leaf } of leavesOf(form)) (leaf as Tensor).dispose();
  return { params, state: empty, batch: upload(batchOf(step), backend) };
}

/** What the oracle chooses by itself. */
async function choose(backend: Backend, state: HostTree, step: number): Promise<Choices> {
  const { params, state: empty, batch } = await place(backend, "f64", state, step);
  const { routings } = apply(model, params, empty, batch.ids, { training: true });
  const chosen = routings.flatMap((routing) => ("selected" in routing ? routing.selected : []));
  return [...(await hostTree(chosen)).values()];
}

/** Tensors of loss (path `loss`) and gradients, the choices played back. */
async function differentiate(
  backend: Backend,
  float: Float,
  state: HostTree,
  step: number,
  choices: Choices,
) {
  const { params, state: empty, batch } = await place(backend, float, state, step);
  const selected = choices.map(({ data, shape }) => backend.tensor(data as Int32Array, { shape }));
  const lossFunction = lossOf(model, { selected });
  const { loss, grads } = valueAndGrad(
    (given: DecoderParams) => lossFunction(given, empty, batch, randomKey(step)).loss,
  )(params);
  return leavesOf({ loss, ...(grads as object) }).map(({ path, leaf }) => ({
    path,
    tensor: leaf as Tensor,
  }));
}

/** The largest error as a share of the largest wanted value. */
function largestError(got: HostArray, wanted: HostArray): number {
  let [error, size] = [0, 0];
  for (const [index, value] of wanted.entries()) {
    error = Math.max(error, Math.abs((got[index] ?? Number.NaN) - value));
    size = Math.max(size, Math.abs(value));
  }
  return error / size;
}

describe.skipIf(!gpu.available)("training on WebGPU", () => {
  it("has the oracle's loss and gradients at parameter states of its run, and that run's curve", async () => {
    const [webgpu, single, oracle] = [await createWebGpu(), await createCpu(), await createCpu()];
    const { backend: naive, boundsOf } = createYardstick({
      accumulation: "f32",
      storage: "f32",
    });
    const free = await train(single);
    let worst = 0;
    for (const step of COMPARED) {
      const state = free.states[step] as HostTree;
      const choices = await choose(oracle, state, step);
      const wanted = await hostTree(
        Object.fromEntries(
          (await differentiate(oracle, "f64", state, step, choices)).map((x) => [x.path, x.tensor]),
        ),
      );
      const bounds = new Map<string, Float64Array>();
      for (const { path, tensor } of await differentiate(naive, "f64", state, step, choices)) {
        bounds.set(path, await boundsOf(tensor));
      }
      for (const { path, tensor } of await differentiate(webgpu, "f32", state, step, choices)) {
        const got = await tensor.read();
        const { data: reference } = wanted.get(path) as HostLeaf;
        const { ok, worst: element } = compareValues({
          got,
          wanted: reference,
          bounds: bounds.get(path) as Float64Array,
          shape: tensor.shape,
          dtype: "f32",
        });
        expect(ok, `state ${step}, ${path}: ${JSON.stringify(element)}`).toBe(true);
        const share = largestError(got, reference);
        expect(share, `state ${step}, ${path}`).toBeLessThan(SHARE);
        worst = Math.max(worst, share);
      }
    }
    expect(worst).toBeGreaterThan(0);
    const { losses } = await train(webgpu);
    expect(losses).toHaveLength(STATES);
    for (const [step, loss] of losses.entries()) {
      const reference = free.losses[step] ?? Number.NaN;
      expect(Math.abs(loss - reference) / reference).toBeLessThan(DRIFT);
    }
    await Promise.all([webgpu, single, oracle, naive].map((backend) => backend.dispose()));
  }, 300_000);
});
