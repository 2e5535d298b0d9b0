import { type Backend, type Tensor, add, leavesOf } from "@moiety/core";
import { driverOf } from "@moiety/backend-webgpu";
import {
  type LayerParams,
  type MeasuredLayer,
  type Storage,
  forward,
  forwardOperations,
  measuredLayer,
  uploadWeights,
} from "./layer.ts";
import { errorOf, referenceOf } from "./reference.ts";
import { type Row, rounded, rowOf } from "./rows.ts";
import { type Patience, race } from "./timing.ts";
import { type LayerSizes, hostInput, hostWeights } from "./weights.ts";

/** Tokens of a batch that are held against the reference. */
const COMPARED = 2;
/** The largest error, as a share of the largest value: sums are float32 in either storage. */
const MAY_ERR = 1e-4;
/** A sample is so many milliseconds of work at least, or one run. */
const SAMPLE = 100;
/** Most runs of a sample. */
const MOST_RUNS = 200;

/** What dispatches cost that do next to nothing, each waiting for the one before. */
export async function dispatchCost(backend: Backend, patience: Patience): Promise<Row> {
  const count = 1000;
  const start = backend.tensor(new Float32Array(256));
  const run = async (): Promise<undefined> => {
    const last = backend.scope(() => {
      let value: Tensor = start;
      for (let index = 0; index < count; index++) value = add(value, 1);
      return value;
    });
    await backend.sync();
    last.dispose();
  };
  const before = dispatchesOf(backend);
  await run();
  const dispatches = dispatchesOf(backend) - before;
  const [timing] = await race([{ run }], patience);
  start.dispose();
  if (timing === undefined) throw new Error("nothing was timed");
  const each = timing.median / dispatches;
  return rowOf("one dispatch of 256 sums, in a chain", each, null, null, {
    microseconds: rounded(each * 1000),
    dispatches: 1,
    samples: timing.samples,
  });
}

/** A row for each number of tokens, with weights in one storage. */
export async function measureLayer(
  backend: Backend,
  sizes: LayerSizes,
  storage: Storage,
  tokenCounts: readonly number[],
  patience: Patience,
): Promise<Row[]> {
  const weights = hostWeights(sizes);
  const layer = measuredLayer(sizes);
  const params = await uploadWeights(backend, weights, storage);
  const rows: Row[] = [];
  for (const tokens of tokenCounts) {
    const input = hostInput(tokens, sizes.hidden);
    const wanted = referenceOf(weights, sizes, input, COMPARED);
    const x = backend.tensor(input, { shape: [tokens, sizes.hidden] });
    // oxlint-disable-next-line no-await-in-loop -- one at a time is the point
    const { output, experts, dispatches } = await runOnce(backend, layer, params, x);
    const error = errorOf(wanted, output);
    if (!(error <= MAY_ERR)) {
      throw new Error(
        `T = ${tokens}, ${storage}: the layer computes wrong: the worst value is off by ` +
          `${rounded(error)} of the largest, but at most ${MAY_ERR} is allowed`,
      );
    }
    // oxlint-disable-next-line no-await-in-loop -- one at a time is the point
    const { alone, packed, samples } = await timesOf(
      backend,
      () => forward(layer, params, x),
      patience,
    );
    const bytes = bytesOf(sizes, storage, experts, tokens);
    rows.push(
      rowOf(`forward, T = ${tokens}, ${storage} weights`, packed, null, null, {
        aloneMs: rounded(alone),
        tflops: rounded(forwardOperations(sizes, tokens) / packed / 1e9),
        tbps: rounded(bytes / packed / 1e9),
        expertsUsed: experts,
        dispatches,
        samples,
        error: rounded(error),
      }),
    );
    x.dispose();
  }
  for (const { leaf } of leavesOf(params)) (leaf as Tensor).dispose();
  return rows;
}

/**
 * Milliseconds of one run: `alone`, from the call until it is done, and `packed`, with as many calls
 * one behind the other as keep the GPU busy.
 */
async function timesOf(
  backend: Backend,
  run: () => Tensor,
  patience: Patience,
): Promise<{ readonly alone: number; readonly packed: number; readonly samples: number }> {
  const repeat = async (count: number): Promise<undefined> => {
    for (let index = 0; index < count; index++) backend.scope(run).dispose();
    await backend.sync();
  };
  const [alone] = await race([{ run: () => repeat(1) }], patience);
  if (alone === undefined) throw new Error("nothing was timed");
  const count = Math.min(MOST_RUNS, Math.max(1, Math.ceil(SAMPLE / alone.median)));
  const [packed] = await race([{ run: () => repeat(count) }], patience);
  if (packed === undefined) throw new Error("nothing was timed");
  return { alone: alone.median, packed: packed.median / count, samples: packed.samples };
}

async function runOnce(
  backend: Backend,
  layer: MeasuredLayer,
  params: LayerParams,
  x: Tensor,
): Promise<{ output: Float32Array; experts: number; dispatches: number }> {
  await backend.sync();
  const before = dispatchesOf(backend);
  const state = { router: {} };
  const kept = backend.scope(() => {
    const routing = layer.route(params, state, x);
    if (routing.kind !== "token-choice") throw new Error("the router is one of token choice");
    return { indices: routing.indices, y: layer.mix(params, state, x, routing) };
  });
  await backend.sync();
  const dispatches = dispatchesOf(backend) - before;
  const [indices, output] = await Promise.all([kept.indices.read(), kept.y.read()]);
  kept.indices.dispose();
  kept.y.dispose();
  return { output: output as Float32Array, experts: new Set(indices).size, dispatches };
}

/** Bytes that have to be moved at least: the weights of the experts in use, and the activations. */
function bytesOf(
  { hidden, intermediate, experts, topK }: LayerSizes,
  storage: Storage,
  used: number,
  tokens: number,
): number {
  const weights = used * 3 * hidden * intermediate * (storage === "f16" ? 2 : 4);
  // In and out; and between the projections, written and read.
  const activations = 4 * tokens * (2 * hidden + 2 * topK * intermediate);
  return weights + 4 * experts * hidden + activations;
}

function dispatchesOf(backend: Backend): number {
  const driver = driverOf(backend);
  if (driver === undefined) throw new Error(`${backend.name} does not count its dispatches`);
  return driver.counters().dispatches;
}
