import { type DType, hostArray, sizeOf, stridesOf } from "@moiety/core";
import type { Kernel, KernelCall } from "../../kernel.ts";
import type { GpuHandle } from "../../memory.ts";
import { u32, write } from "../../program.ts";
import { wordType } from "./map.ts";
import { windowsOf } from "./windows.ts";

/** Writes one word over and over: any dtype, since a value's bits are known on the host. */
export function fillWords(call: KernelCall, target: GpuHandle, word: number): void {
  const words = Math.ceil(target.byteLength / 4);
  for (const { count, segments } of windowsOf(words, [{ handle: target, bytes: 4 }])) {
    const vectors = Math.ceil(count / 4);
    call.dispatch(
      {
        name: "fill",
        operands: { y: write(target, "vec4<u32>", segments[0]) },
        params: { count: u32(vectors), word: u32(word) },
        text: () => ({
          main: `if (index < params.count) { store_y(index, vec4<u32>(params.word)); }`,
        }),
      },
      { invocations: vectors },
    );
  }
}

/** The 32 bits that a value fills a buffer of a dtype with. */
export function wordOf(value: number, dtype: DType): number {
  const bytes = new Uint8Array(4);
  const one = encode(value, dtype);
  for (let at = 0; at < 4; at += one.length) bytes.set(one, at);
  return new DataView(bytes.buffer).getUint32(0, true);
}

function encode(value: number, dtype: DType): Uint8Array {
  switch (dtype) {
    case "f16":
    case "bf16":
      return new Uint8Array(Uint16Array.of(halfBits(value, dtype)).buffer);
    default: {
      const bytes = new Uint8Array(dtype === "u8" ? 1 : 4);
      hostArray(dtype, bytes.buffer, 0, 1)[0] = value;
      return bytes;
    }
  }
}

/**
 * The bits of a half float: to nearest, ties to even; beyond the range ±∞. Every NaN is the quiet one
 * without sign.
 */
export function halfBits(value: number, dtype: "f16" | "bf16"): number {
  const [mantissaBits, bias] = dtype === "f16" ? [10, 15] : [7, 127];
  const infinity = (2 * bias + 1) << mantissaBits;
  if (Number.isNaN(value)) return infinity | (1 << (mantissaBits - 1));
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  const head = view.getUint16(0);
  const sign = head & 0x8000;
  const exponent = Math.max(((head >> 4) & 0x7ff) - 1023, 1 - bias);
  if (exponent > bias) return sign | infinity;
  const steps = roundEven(Math.abs(value) * 2 ** (mantissaBits - exponent));
  // Rounding up, or a subnormal, moves the exponent by itself: the fields are one number.
  return sign | (((exponent + bias - 1) << mantissaBits) + steps);
}

function roundEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}

/** `fill`. */
export const fill: Kernel = (call) => {
  const { value } = call.attributes<{ value: number }>();
  const y = call.make(0);
  fillWords(call, y, wordOf(value, call.spec(0).dtype));
  return [y];
};

/** `iota`. */
export const iota: Kernel = (call) => {
  const { axis } = call.attributes<{ axis: number }>();
  const { shape, dtype } = call.spec(0);
  const y = call.make(0);
  const type = wordType(dtype);
  const elements = sizeOf(shape);
  for (const { start, count, segments } of windowsOf(elements, [{ handle: y, bytes: 4 }])) {
    const vectors = Math.ceil(count / 4);
    call.dispatch(
      {
        name: "iota",
        operands: { y: write(y, `vec4<${type}>`, segments[0]) },
        params: {
          count: u32(vectors),
          first: u32(start),
          stride: u32(stridesOf(shape)[axis] ?? 1),
          size: u32(shape[axis] ?? 1),
        },
        text: () => ({
          main: `if (index < params.count) {
            let at = vec4<u32>(params.first + 4u * index) + vec4<u32>(0u, 1u, 2u, 3u);
            let coordinate = vec4<i32>((at / params.stride) % params.size);
            store_y(index, vec4<${type}>(coordinate));
          }`,
        }),
      },
      { invocations: vectors },
    );
  }
  return [y];
};
