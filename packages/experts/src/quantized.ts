import {
  ConfigError,
  type FfnDescriptor,
  type FfnWeights,
  type FusedFfn,
  type Leaf,
  type ProductFormat,
  type QuantizedTensor,
  type RandomKey,
  type Shape,
  type Tensor,
  bankRows,
  cast,
  fusedFfn,
  isFloat,
  roundsActivations,
  storedFormat,
} from "@moiety/core";
import type { FfnBank, ShapedBank } from "./bank.ts";
import type { FfnParams, QuantizedParams } from "./params.ts";
import { hostQuantize } from "./quantize.ts";
import { isMatrix, matrixParameter, requireFormat, uploaded } from "./quantized-matrix.ts";
import { type ShapesOf, drawFfn } from "./shapes.ts";
import { requireResident } from "./wrap.ts";

/** Options of {@link quantizedExperts}. */
export interface QuantizedOptions {
  readonly format: ProductFormat;
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
 * not). Activations stay floats, but for `q8_block32_a8` and `q4_block32_a8`: their products read them
 * rounded to 8 bits in blocks, as llama.cpp's Q8_0 and Q4_0 do. Shapes are those of the numbers that
 * the codes stand for.
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
  const descriptor: FfnDescriptor = { ...bank.descriptor, format };
  const shapes = bank.shapes as Readonly<Record<string, Shape>>;
  requireFormat(format, shapes);
  if (roundsActivations(format) && descriptor.transposed) {
    const problem = `${format} rounds what is added up in blocks, so banks are [E, out, in]`;
    throw new ConfigError(problem, "transposed", true);
  }
  return {
    experts: bank.experts,
    inputSize: bank.inputSize,
    outputSize: bank.outputSize,
    descriptor,
    shapes: shapes as QuantizedBank<Params>["shapes"],
    init(key, options) {
      const draw = (own: RandomKey, shape: Shape): Leaf =>
        matrixParameter(own, shape, bank.initializerRange, options, format);
      const params = drawFfn(shapes as ShapesOf<FfnParams>, draw, key, options);
      return { params: params as QuantizedParams<Params>, state: {} };
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

/** A matrix of a backend, quantised on the host. */
async function quantized(matrix: Tensor, format: ProductFormat): Promise<QuantizedTensor> {
  const wide = isFloat(matrix.dtype) ? matrix : cast(matrix, { dtype: "f32" });
  const values = await wide.read();
  if (wide !== matrix) wide.dispose();
  return uploaded(hostQuantize(values, matrix.shape, storedFormat(format)), matrix.backend);
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
