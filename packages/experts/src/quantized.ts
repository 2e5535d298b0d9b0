import {
  type Backend,
  ConfigError,
  type FfnDescriptor,
  type FfnWeights,
  type FusedFfn,
  type QuantizedFormat,
  type QuantizedTensor,
  type RandomKey,
  type Shape,
  type Tensor,
  bankRows,
  cast,
  constantParameter,
  foldIn,
  formatShape,
  fusedFfn,
  hostNormal,
  isFloat,
  quantizedFormats,
  sizeOf,
} from "@moiety/core";
import type { FfnBank, ShapedBank } from "./bank.ts";
import { refuse } from "./options.ts";
import type { FfnParams } from "./params.ts";
import { type HostQuantized, hostQuantize } from "./quantize.ts";
import { requireResident } from "./wrap.ts";

/** Weights of a bank with its matrices in a format; biases stay as they are. */
export type QuantizedParams<Params extends FfnParams> = {
  readonly [Name in keyof Params]: Name extends "gateUp" | "up" | "down"
    ? QuantizedTensor
    : Params[Name];
};

/** Options of {@link quantizedExperts}. */
export interface QuantizedOptions {
  readonly format: QuantizedFormat;
}

/** A bank whose matrices are quantised. */
export interface QuantizedBank<Params extends FfnParams> extends ShapedBank<
  QuantizedParams<Params>
> {
  /** How its weights are read; it names the format. */
  readonly descriptor: FfnDescriptor;
  ffn(params: QuantizedParams<Params>): FusedFfn;
  /**
   * Reads a bank's weights and gives them back quantised, on the same backend, by `hostQuantize`.
   * The weights that were given stay.
   * @throws NumericError where one is not finite
   */
  quantize(params: Params): Promise<QuantizedParams<Params>>;
}

/**
 * The experts of another bank with their matrices quantised: leaves `{ codes, scales }`, a half to an
 * eighth of the bytes, which do not train (their gradients are `null`, those of tokens and routers are
 * not). Activations stay floats. Shapes are those of the numbers that the codes stand for.
 *
 * @example
 * const bank = quantizedExperts(glu(sizes), { format: "q4_block32" });
 * const params = await bank.quantize(trained);
 * @throws ConfigError where the rows of a matrix do not hold whole blocks
 */
export function quantizedExperts<Params extends FfnParams>(
  bank: FfnBank<Params>,
  { format }: QuantizedOptions,
): QuantizedBank<Params> {
  requireResident("quantizedExperts", bank);
  if (!Object.hasOwn(quantizedFormats, format)) {
    throw refuse("format", format, `one of ${Object.keys(quantizedFormats).join(", ")}`);
  }
  const descriptor: FfnDescriptor = { ...bank.descriptor, format };
  const shapes = bank.shapes as Readonly<Record<string, Shape>>;
  for (const [name, shape] of Object.entries(shapes)) {
    if (isMatrix(name)) requireBlocks(name, shape, format);
  }
  return {
    experts: bank.experts,
    inputSize: bank.inputSize,
    outputSize: bank.outputSize,
    descriptor,
    shapes: shapes as QuantizedBank<Params>["shapes"],
    init(key, options) {
      const leaves = Object.entries(shapes).map(([name, shape], leaf) => [
        name,
        isMatrix(name)
          ? drawn(foldIn(key, leaf), shape, bank.initializerRange, format, options.backend)
          : constantParameter(0, shape, options),
      ]);
      return { params: Object.fromEntries(leaves) as QuantizedParams<Params>, state: {} };
    },
    ffn: (params) => fusedFfn(descriptor, weightsOf(params)),
    forward: (params, rows) => bankRows(rows, weightsOf(params), descriptor),
    async quantize(params) {
      const leaves = Object.entries<Tensor | undefined>({ ...params }).map(async ([name, leaf]) => [
        name,
        leaf && isMatrix(name) ? await quantized(leaf, format) : leaf,
      ]);
      return Object.fromEntries(await Promise.all(leaves)) as QuantizedParams<Params>;
    },
  };
}

function isMatrix(name: string): boolean {
  return name === "gateUp" || name === "up" || name === "down";
}

function requireBlocks(name: string, shape: Shape, format: QuantizedFormat): void {
  const { block = 1 } = quantizedFormats[format];
  if ((shape.at(-1) ?? 0) % block === 0) return;
  throw new ConfigError(
    `${name} is ${formatShape(shape)}, but rows of ${format} hold a multiple of ${block} numbers`,
    "format",
    format,
  );
}

/** A matrix like the bank's own first one, quantised. */
function drawn(
  key: RandomKey,
  shape: Shape,
  deviation: number,
  format: QuantizedFormat,
  backend: Backend,
): QuantizedTensor {
  const values = Float32Array.from(hostNormal(key, sizeOf(shape)), (draw) => draw * deviation);
  return uploaded(hostQuantize(values, shape, format), backend);
}

/** A matrix of a backend, quantised on the host. */
async function quantized(matrix: Tensor, format: QuantizedFormat): Promise<QuantizedTensor> {
  const wide = isFloat(matrix.dtype) ? matrix : cast(matrix, { dtype: "f32" });
  const values = await wide.read();
  if (wide !== matrix) wide.dispose();
  return uploaded(hostQuantize(values, matrix.shape, format), matrix.backend);
}

function uploaded(
  { codes, codesShape, scales, scalesShape }: HostQuantized,
  backend: Backend,
): QuantizedTensor {
  return {
    codes: backend.tensor(codes, { shape: codesShape }),
    scales: backend.tensor(scales, { shape: scalesShape }),
  };
}

/** The weights under the names of the fused op. */
function weightsOf(params: QuantizedParams<FfnParams>): FfnWeights {
  const { down, downBias } = params;
  const [up, upBias] =
    "gateUp" in params ? [params.gateUp, params.gateUpBias] : [params.up, params.upBias];
  return {
    up: up.codes,
    down: down.codes,
    upBias,
    downBias,
    upScales: up.scales,
    downScales: down.scales,
  };
}
