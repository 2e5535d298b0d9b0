import {
  NumericError,
  type QuantizedFormat,
  ShapeError,
  type Shape,
  formatShape,
  quantizedFormats,
  sizeOf,
} from "@moiety/core";

/** Codes and scales on the host, with the shapes that `dequantize` wants of them. */
export interface HostQuantized {
  readonly codes: Uint8Array;
  readonly codesShape: Shape;
  /** Exponents where the format has those, else floats. */
  readonly scales: Float32Array | Uint8Array;
  readonly scalesShape: Shape;
}

/**
 * Numbers `[…, K]` in a format, each to the nearest that its scale allows, ties to an even code.
 *
 * `q8_row`, `q8_block32`, `q4_block32`: scale = max|w| / (z − 1) over the row or block, rounded to
 * float32, and code = round(w / scale) + z, with z = 128 or 8; so the largest number is met and code 0
 * stays unused (as in ONNX Runtime's symmetric `QMoE` weights). A block of zeros has scale 0.
 *
 * `mxfp4`: scale = 2^(⌊log₂ max|w|⌋ − 2), within 2^±127, and sizes above 6 become 6 (Open Compute
 * Project, Microscaling Formats 1.0, section 6.3). A block of zeros has the scale 2^−127.
 *
 * @throws ShapeError where a row does not hold whole blocks
 * @throws NumericError where a number is not finite
 */
export function hostQuantize(
  values: ArrayLike<number>,
  shape: Shape,
  format: QuantizedFormat,
): HostQuantized {
  const { block, codesPerByte, zeroPoint } = quantizedFormats[format];
  const width = shape.at(-1) ?? 0;
  const rows = shape.slice(0, -1);
  if (shape.length === 0 || (block && width % block) || sizeOf(shape) !== values.length) {
    throw new ShapeError(
      `${values.length} numbers of shape ${formatShape(shape)} do not make whole rows in ${format}`,
    );
  }
  const numbers = ArrayBuffer.isView(values) ? values : Float64Array.from(values);
  const sharing = block ?? width;
  const scalesShape = block ? [...rows, width / block] : rows;
  const codesShape = [...rows, width / codesPerByte];
  const count = sizeOf(scalesShape);
  const codes = new Uint8Array(sizeOf(codesShape));
  const scales = zeroPoint === undefined ? new Uint8Array(count) : new Float32Array(count);
  for (let part = 0; part < count; part++) {
    const first = part * sharing;
    const largest = largestOf(numbers, first, sharing);
    scales[part] = zeroPoint === undefined ? exponentOf(largest) : largest / (zeroPoint - 1);
    const step = zeroPoint === undefined ? 2 ** (scales[part]! - 127) : scales[part]!;
    for (let at = first; at < first + sharing; at++) {
      const steps = step === 0 ? 0 : numbers[at]! / step;
      const code = zeroPoint === undefined ? miniFloat(steps) : wholeSteps(steps, zeroPoint);
      if (codesPerByte === 1) codes[at] = code;
      else codes[at >> 1]! |= code << (4 * (at & 1));
    }
  }
  return { codes, codesShape, scales, scalesShape };
}

function largestOf(values: ArrayLike<number>, first: number, count: number): number {
  let largest = 0;
  for (let at = first; at < first + count; at++) {
    const size = Math.abs(values[at]!);
    if (!Number.isFinite(size)) {
      throw new NumericError(
        `number ${at} is ${values[at]}, and has no place in a quantised format`,
      );
    }
    largest = Math.max(largest, size);
  }
  return largest;
}

/** Added to a number below 2^51 and taken off again, it leaves the nearest whole one, ties to even. */
const ROUNDING = 1.5 * 2 ** 52;

/** The code of a whole number of steps. */
function wholeSteps(steps: number, zeroPoint: number): number {
  const bounded = Math.min(Math.max(steps, -zeroPoint), zeroPoint - 1);
  return bounded + ROUNDING - ROUNDING + zeroPoint;
}

/** The largest exponent of a number of 4 bits: 6 is 1.5 · 2². */
const MINI_EXPONENT = 2;

/** The exponent of a block, plus 127. */
function exponentOf(largest: number): number {
  if (largest === 0) return 0;
  const near = Math.floor(Math.log2(largest));
  // A logarithm just below a whole number may have been rounded to it.
  const floor = 2 ** near > largest ? near - 1 : near;
  return Math.min(Math.max(floor - MINI_EXPONENT, -127), 127) + 127;
}

/** The code of the number of 4 bits that is nearest, ties to an even code. */
function miniFloat(value: number): number {
  const size = Math.abs(value);
  // Halfway between the sizes 0, ½, 1, 1½, 2, 3, 4 and 6; a tie goes up where the next code is even.
  const low = Number(size > 0.25) + Number(size >= 0.75) + Number(size > 1.25);
  const high = Number(size >= 1.75) + Number(size > 2.5) + Number(size >= 3.5) + Number(size > 5);
  return low + high + (value < 0 || Object.is(value, -0) ? 8 : 0);
}
