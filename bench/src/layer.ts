import {
  type Backend,
  type MoeLayer,
  type QuantizedFormat,
  type Router,
  type Tensor,
  moe,
} from "@moiety/core";
import {
  type FfnBank,
  type GluParams,
  type QuantizedParams,
  glu,
  quantizedExperts,
} from "@moiety/experts";
import { type LinearRouterParams, type LinearRouterState, mixtralRouter } from "@moiety/routers";
import type { HostMatrix, HostWeights, LayerSizes } from "./weights.ts";

/** Floating-point operations of a forward pass: products of the router and of both projections. */
export function forwardOperations(sizes: LayerSizes, tokens: number): number {
  const { hidden, intermediate, experts, topK } = sizes;
  return 2 * tokens * hidden * (experts + topK * 3 * intermediate);
}

/** A layer as users compose it: Mixtral's router and a bank of SwiGLU experts. */
export type MeasuredLayer = MoeLayer<LinearRouterParams, LinearRouterState, GluParams>;

/** Its parameters. */
export type LayerParams = Parameters<MeasuredLayer["mix"]>[0];

/** Composes the layer that is measured. */
export function measuredLayer(sizes: LayerSizes): MeasuredLayer {
  return moe({ router: routerOf(sizes), experts: bankOf(sizes) });
}

/** The same layer with its experts' weights in a quantised format. */
export function quantizedLayer(
  sizes: LayerSizes,
  format: QuantizedFormat,
): MoeLayer<LinearRouterParams, LinearRouterState, QuantizedParams<GluParams>> {
  return moe({ router: routerOf(sizes), experts: quantizedExperts(bankOf(sizes), { format }) });
}

function routerOf({
  hidden,
  experts,
  topK,
}: LayerSizes): Router<LinearRouterParams, LinearRouterState> {
  return mixtralRouter({
    hiddenSize: hidden,
    numLocalExperts: experts,
    numExpertsPerTok: topK,
  });
}

function bankOf({ hidden, intermediate, experts }: LayerSizes): FfnBank<GluParams> {
  return glu({
    experts,
    hiddenSize: hidden,
    intermediateSize: intermediate,
    activation: "silu",
    layout: { packing: "interleaved", first: "gate" },
  });
}

/** `x [T, H]` → `[T, H]`: the two public calls that a layer is. */
export function forward(layer: MeasuredLayer, params: LayerParams, x: Tensor): Tensor {
  const state = { router: {} };
  return layer.mix(params, state, x, layer.route(params, state, x));
}

/** What the experts' weights are held in; the router's are float32. */
export type Storage = "f32" | "f16";

/** Puts weights on a backend. */
export async function uploadWeights(
  backend: Backend,
  { router, gateUp, down }: HostWeights,
  storage: Storage,
): Promise<LayerParams> {
  return {
    router: { weight: await uploadMatrix(backend, router, "f32") },
    experts: {
      gateUp: await uploadMatrix(backend, gateUp, storage),
      down: await uploadMatrix(backend, down, storage),
    },
    shared: undefined,
  };
}

/** Elements that are on their way at a time. */
const PIECE = 2 ** 24;

async function uploadMatrix(
  backend: Backend,
  matrix: HostMatrix,
  storage: Storage,
): Promise<Tensor> {
  const upload = backend.upload({ shape: matrix.shape, dtype: storage });
  const size = matrix.shape.reduce((product, length) => product * length, 1);
  for (let start = 0; start < size; start += PIECE) {
    const values = new Float32Array(Math.min(PIECE, size - start));
    for (let index = 0; index < values.length; index++) values[index] = matrix.at(start + index);
    const data = storage === "f16" ? halfBits(values) : values;
    upload.write(start * data.BYTES_PER_ELEMENT, new Uint8Array(data.buffer));
    // oxlint-disable-next-line no-await-in-loop -- or all pieces would be held at once
    await backend.sync();
  }
  return upload.finish();
}

/** Half floats of numbers that half floats hold exactly. @throws Error where they do not */
export function halfBits(values: Float32Array): Uint16Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(words.length);
  for (let index = 0; index < words.length; index++) {
    const word = words[index] ?? 0;
    const exponent = ((word >>> 23) & 0xff) - 127 + 15;
    const isZero = (word & 0x7fffffff) === 0;
    if (!isZero && (exponent < 1 || exponent > 30 || (word & 0x1fff) !== 0)) {
      throw new Error(`${values[index]} is no half float: these sizes need another step`);
    }
    const size = isZero ? 0 : (exponent << 10) | ((word >>> 13) & 0x3ff);
    halves[index] = ((word >>> 16) & 0x8000) | size;
  }
  return halves;
}
