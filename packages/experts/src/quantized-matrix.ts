import {
  type Backend,
  ConfigError,
  type InitOptions,
  type Leaf,
  type ProductFormat,
  type QuantizedTensor,
  type RandomKey,
  type Shape,
  formatShape,
  hostNormal,
  normalParameter,
  productFormats,
  quantizedFormats,
  sizeOf,
  storedFormat,
} from "@moiety/core";
import { refuse } from "./options.ts";
import { type HostQuantized, hostQuantize } from "./quantize.ts";

/**
 * A matrix drawn from normal(0, `deviation`) on the host, as `normalParameter` draws it; with a
 * `format` it is held in the codes that `hostQuantize` finds.
 * @throws ShapeError where a row does not hold whole blocks
 */
export function matrixParameter(
  key: RandomKey,
  shape: Shape,
  deviation: number,
  options: InitOptions,
  format?: ProductFormat,
): Leaf {
  if (format === undefined) return normalParameter(key, shape, deviation, options);
  const values = Float32Array.from(hostNormal(key, sizeOf(shape)), (draw) => draw * deviation);
  return uploaded(hostQuantize(values, shape, storedFormat(format)), options.backend);
}

/** Codes and scales on a backend. */
export function uploaded(
  { codes, codesShape, scales, scalesShape }: HostQuantized,
  backend: Backend,
): QuantizedTensor {
  return {
    codes: backend.tensor(codes, { shape: codesShape }),
    scales: backend.tensor(scales, { shape: scalesShape }),
  };
}

/** Whether a leaf of a feed-forward network is a matrix. */
export function isMatrix(name: string): boolean {
  return name === "gateUp" || name === "up" || name === "down";
}

/**
 * Refuses a format that there is not, and one whose blocks do not divide the rows of a network's
 * matrices. @throws ConfigError
 */
export function requireFormat(
  format: ProductFormat,
  shapes: Readonly<Record<string, Shape>>,
): void {
  if (!productFormats.includes(format)) {
    throw refuse("format", format, `one of ${productFormats.join(", ")}`);
  }
  const { block = 1 } = quantizedFormats[storedFormat(format)];
  for (const [name, shape] of Object.entries(shapes)) {
    if (!isMatrix(name) || (shape.at(-1) ?? 0) % block === 0) continue;
    throw new ConfigError(
      `${name} is ${formatShape(shape)}, but rows of ${format} hold a multiple of ${block} numbers`,
      "format",
      format,
    );
  }
}
