import {
  type Backend,
  type MoeLayer,
  type MoeParams,
  type QuantizedTensor,
  type Routing,
  type Tensor,
  isTensor,
  leavesOf,
  sizeOf,
} from "@moiety/core";
import type { LinearRouterState } from "@moiety/routers";
import { forwardOperations, measuredLayer, quantizedLayer, uploadWeights } from "../layer.ts";
import { type WeightFormat, bytesPerWeight, codedMatrix, gridOf, moeModel } from "../moe-model.ts";
import { type Reference, errorOf, referenceOf } from "../reference.ts";
import { type Row, rounded, rowOf } from "../rows.ts";
import { type CpuModel, type RuntimePackage, cpuModel } from "../runtime.ts";
import { type Contestant, race } from "../timing.ts";
import {
  type HostMatrix,
  type HostWeights,
  type LayerSizes,
  hostInput,
  hostWeights,
} from "../weights.ts";
import type { Cost } from "./bounds.ts";
import { type Setting, goalIn } from "./setting.ts";
import { warmUp } from "./warm.ts";

/** A batch `[T, H]` with what it has to give. */
interface Batch {
  readonly x: Float32Array;
  readonly wanted: Reference;
}

/** Tokens of a batch that are compared; where T is 1, as many batches. */
const COMPARED = 16;
/** The largest error, as a share of the largest value. */
const MAY_ERR = 1e-4;

/** Ratios that are aimed at in the first layer, by peer, format and T. */
const GOALS: Readonly<Record<RuntimePackage, Readonly<Record<string, number>>>> = {
  "onnxruntime-node": {
    "f32 1": 1,
    "f32 128": 1,
    "f32 512": 0.7,
    "q4_block32 1": 10,
    "q4_block32 128": 3,
  },
  "onnxruntime-web": {
    "f32 1": 2,
    "f32 128": 2,
    "f32 512": 2.5,
    "q4_block32 1": 4,
    "q4_block32 128": 2,
  },
};

/** A layer that is measured. */
export interface LayerTask {
  readonly sizes: LayerSizes;
  readonly format: WeightFormat;
  readonly tokenCounts: readonly number[];
  /** Whether the goals are this layer's. */
  readonly goals: boolean;
}

/** Times a layer's forward pass, from x on the host to y on the host, beside onnxruntime's. */
export async function measureLayer(
  setting: Setting,
  backend: Backend,
  task: LayerTask,
): Promise<Row[]> {
  const { sizes, format } = task;
  const weights = hostWeights(sizes, gridOf(format));
  const ours = await ourLayer(backend, weights, sizes, format);
  const packages: readonly RuntimePackage[] = setting.peers
    ? ["onnxruntime-node", "onnxruntime-web"]
    : [];
  const model = setting.peers ? moeModel(weights, sizes, format) : new Uint8Array();
  const peers: Peer[] = [];
  for (const name of packages) {
    // oxlint-disable-next-line no-await-in-loop -- one at a time takes less memory
    peers.push({ package: name, model: await cpuModel(name, model, setting.threads) });
  }
  const rows: Row[] = [];
  for (const tokens of task.tokenCounts) {
    const batches = batchesOf(weights, sizes, tokens);
    // oxlint-disable-next-line no-await-in-loop -- one at a time is the point
    rows.push(...(await measureTokens(setting, task, tokens, batches, ours, peers)));
  }
  for (const peer of peers) {
    // oxlint-disable-next-line no-await-in-loop -- one at a time
    await peer.model.dispose();
  }
  ours.dispose();
  return rows;
}

/** Sizes in words. */
export function layerText({ hidden, intermediate, experts, topK }: LayerSizes): string {
  return `H ${hidden} I ${intermediate} E ${experts} k ${topK}`;
}

/** Bytes that a forward pass has to move: the weights of the experts in use, the router's, x and y. */
export function forwardBytes(
  { hidden, intermediate, experts }: LayerSizes,
  format: WeightFormat,
  tokens: number,
  used: number,
): number {
  const projections =
    2 * intermediate * hidden * bytesPerWeight(format, hidden) +
    hidden * intermediate * bytesPerWeight(format, intermediate);
  return used * projections + 4 * (experts * hidden + 2 * tokens * hidden);
}

interface Peer {
  readonly package: RuntimePackage;
  readonly model: CpuModel;
}

interface OurLayer {
  run(x: Float32Array): Promise<Float32Array>;
  /** How many experts a batch uses. */
  experts(x: Float32Array): Promise<number>;
  dispose(): void;
}

async function measureTokens(
  setting: Setting,
  { sizes, format, goals }: LayerTask,
  tokens: number,
  batches: readonly Batch[],
  ours: OurLayer,
  peers: readonly Peer[],
): Promise<Row[]> {
  const runs = [
    ours.run.bind(ours),
    ...peers.map(
      ({ model }) =>
        (x: Float32Array) =>
          model.run(x, [x.length / sizes.hidden, sizes.hidden]),
    ),
  ];
  const errors: number[] = [];
  for (const run of runs) {
    // oxlint-disable-next-line no-await-in-loop -- one at a time
    errors.push(await worstOf(run, batches));
  }
  const [error = Number.NaN, ...peerErrors] = errors;
  if (!(error <= MAY_ERR)) {
    throw new Error(`the layer (${layerText(sizes)}, ${format}, T = ${tokens}) is off by ${error}`);
  }
  const contestants = runs.map((run) => turns(run, batches));
  await warmUp(contestants.map(({ run }) => run));
  const [timing, ...theirs] = await race(contestants, setting.patience);
  if (timing === undefined) throw new Error("nothing was timed");
  const used = await Promise.all(batches.map(({ x }) => ours.experts(x)));
  const cost: Cost = {
    operations: forwardOperations(sizes, tokens),
    bytes: forwardBytes(sizes, format, tokens, Math.max(...used)),
  };
  const name = `${format}, T = ${tokens}, ${layerText(sizes)}`;
  const common = {
    ...cost,
    samples: timing.samples,
    error: rounded(error),
  };
  if (peers.length === 0) return [rowOf(name, timing.median, null, null, common)];
  return peers.map((peer, index) => {
    const peerError = peerErrors[index] ?? Number.NaN;
    const right = peerError <= MAY_ERR;
    const time = right ? (theirs[index]?.median ?? null) : null;
    const goal = goals ? GOALS[peer.package][`${format} ${tokens}`] : undefined;
    return rowOf(name, timing.median, peer.model.name, time, {
      ...goalIn(setting, goal),
      ...common,
      peerError: rounded(peerError),
      ...(!right && { note: `${name}: ${peer.model.name} is off by ${rounded(peerError)}` }),
    });
  });
}

/** Each run takes the next batch, so that nobody finds an expert's weights where it left them. */
function turns(
  run: (x: Float32Array) => Promise<Float32Array>,
  batches: readonly Batch[],
): Contestant {
  let turn = 0;
  return { run: () => run(batches[turn++ % batches.length]?.x ?? new Float32Array()) };
}

async function worstOf(
  run: (x: Float32Array) => Promise<Float32Array>,
  batches: readonly Batch[],
): Promise<number> {
  let worst = 0;
  for (const { x, wanted } of batches) {
    // oxlint-disable-next-line no-await-in-loop -- one at a time
    worst = Math.max(worst, errorOf(wanted, await run(x)));
  }
  return worst;
}

function batchesOf(weights: HostWeights, sizes: LayerSizes, tokens: number): Batch[] {
  const { hidden } = sizes;
  if (tokens > 1) {
    const x = hostInput(tokens, hidden);
    return [{ x, wanted: referenceOf(weights, sizes, x, COMPARED) }];
  }
  const all = hostInput(COMPARED, hidden);
  const reference = referenceOf(weights, sizes, all, COMPARED);
  return reference.tokens.map((token, place) => ({
    x: all.slice(token * hidden, (token + 1) * hidden),
    wanted: {
      hidden,
      tokens: [0],
      outputs: reference.outputs.slice(place * hidden, (place + 1) * hidden),
    },
  }));
}

async function ourLayer(
  backend: Backend,
  weights: HostWeights,
  sizes: LayerSizes,
  format: WeightFormat,
): Promise<OurLayer> {
  if (format === "f32") {
    const params = await uploadWeights(backend, weights, "f32");
    return composed(backend, sizes, measuredLayer(sizes), params);
  }
  const params = {
    router: { weight: uploaded(backend, weights.router) },
    experts: {
      gateUp: uploadedCodes(backend, weights.gateUp, format),
      down: uploadedCodes(backend, weights.down, format),
    },
    shared: undefined,
  };
  return composed(backend, sizes, quantizedLayer(sizes, format), params);
}

function composed<Params, Bank>(
  backend: Backend,
  sizes: LayerSizes,
  layer: MoeLayer<Params, LinearRouterState, Bank>,
  params: MoeParams<Params, Bank>,
): OurLayer {
  const state = { router: {} };
  const input = (x: Float32Array): Tensor =>
    backend.tensor(x, { shape: [x.length / sizes.hidden, sizes.hidden] });
  return {
    run: (x) =>
      readOnce(
        backend.scope(() => {
          const given = input(x);
          return layer.mix(params, state, given, layer.route(params, state, given));
        }),
      ),
    async experts(x) {
      const indices = backend.scope(() => indicesOf(layer.route(params, state, input(x))));
      return new Set(await readOnce(indices)).size;
    },
    dispose() {
      for (const { leaf } of leavesOf(params)) if (isTensor(leaf)) leaf.dispose();
    },
  };
}

function uploaded(backend: Backend, matrix: HostMatrix): Tensor {
  const values = Float32Array.from({ length: sizeOf(matrix.shape) }, (_, index) =>
    matrix.at(index),
  );
  return backend.tensor(values, { shape: matrix.shape });
}

function uploadedCodes(
  backend: Backend,
  matrix: HostMatrix,
  format: "q8_row" | "q4_block32",
): QuantizedTensor {
  const { codes, codesShape, scales, scalesShape } = codedMatrix(matrix, format);
  return {
    codes: backend.tensor(codes, { shape: codesShape, dtype: "u8" }),
    scales: backend.tensor(scales, { shape: scalesShape }),
  };
}

function indicesOf(routing: Routing): Tensor {
  if (routing.kind !== "token-choice") throw new Error("the router chooses no experts for tokens");
  return routing.indices.reshape([sizeOf(routing.indices.shape)]);
}

async function readOnce<A extends Float32Array>(tensor: Tensor): Promise<A> {
  const values = await tensor.read();
  tensor.dispose();
  return values as A;
}
