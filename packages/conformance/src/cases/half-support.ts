import { type HostTensor, generated } from "../host-tensor.ts";

/** The bits of the half float nearest to a number of normal size, halves to even. */
function halfBits(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size === 0) return sign;
  const exponent = Math.max(-14, Math.floor(Math.log2(size)));
  const scaled = size * 2 ** (10 - exponent);
  const floor = Math.floor(scaled);
  const rest = scaled - floor;
  const whole = floor + (rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? 1 : 0);
  // A carry out of the fraction counts the exponent up by itself.
  return sign | ((exponent + 14) * 1024 + whole);
}

/** A host tensor of numbers in half floats. */
export function halved(tensor: HostTensor): HostTensor {
  return generated(tensor.shape, "f16", (index) => halfBits(tensor.data[index] ?? 0));
}

/** A host tensor of numbers in bfloat16, rounded half away from zero. */
export function bfloated(tensor: HostTensor): HostTensor {
  const words = new Uint32Array(Float32Array.from(tensor.data).buffer);
  return generated(tensor.shape, "bf16", (index) => ((words[index] ?? 0) + 0x8000) >>> 16);
}
