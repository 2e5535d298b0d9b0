import { type QuantizedFormat, quantizedFormats } from "@moiety/core";
import type { ElementType } from "../../program.ts";
import { scaleBytes } from "./held.ts";

/** The type as which the scales of a format are bound. */
export function scalesType(format: QuantizedFormat): ElementType {
  return scaleBytes(format) === 1 ? "u32" : "f32";
}

/**
 * WGSL that makes numbers of codes, which lie in the words of the operand `name`, and of their scales
 * in `nameScales`: `code_NAME(i)`; `codes_NAME(i)`, four neighbours from a multiple of four on;
 * `scale_NAME(j)`; `number_NAME(code, scale)` and `numbers_NAME(codes, scale)`.
 */
export function codesText(name: string, format: QuantizedFormat): string {
  return [lyingText(name, format), scaleText(name, format), numberText(name, format)].join("\n");
}

function lyingText(name: string, format: QuantizedFormat): string {
  if (quantizedFormats[format].codesPerByte === 1) {
    return `fn code_${name}(i: u32) -> u32 { return (load_${name}(i >> 2u) >> ((i & 3u) * 8u)) & 255u; }
fn codes_${name}(i: u32) -> vec4<u32> {
  return (vec4<u32>(load_${name}(i >> 2u)) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
}`;
  }
  return `fn code_${name}(i: u32) -> u32 { return (load_${name}(i >> 3u) >> ((i & 7u) * 4u)) & 15u; }
fn codes_${name}(i: u32) -> vec4<u32> {
  let half = load_${name}(i >> 3u) >> ((i & 4u) * 4u);
  return (vec4<u32>(half) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
}`;
}

/** A power of two has its exponent in a byte; the smallest, 2⁻¹²⁷, a device may take for zero. */
function scaleText(name: string, format: QuantizedFormat): string {
  if (scaleBytes(format) > 1) {
    return `fn scale_${name}(j: u32) -> f32 { return load_${name}Scales(j); }`;
  }
  return `fn scale_${name}(j: u32) -> f32 {
  let exponent = (load_${name}Scales(j >> 2u) >> ((j & 3u) * 8u)) & 255u;
  let bits = select(exponent << 23u, 0x00400000u, exponent == 0u);
  return bitcast<f32>(select(bits, 0x7fc00000u, exponent == 255u));
}`;
}

/** One product, rounded once. */
function numberText(name: string, format: QuantizedFormat): string {
  const { zeroPoint } = quantizedFormats[format];
  const both = (body: (floats: string, words: string, whole: string) => string): string =>
    [
      [`number_${name}`, "f32", "u32", "i32"],
      [`numbers_${name}`, "vec4<f32>", "vec4<u32>", "vec4<i32>"],
    ]
      .map(
        ([title, floats = "", words = "", whole = ""]) =>
          `fn ${title}(code: ${words}, scale: f32) -> ${floats} {${body(floats, words, whole)}}`,
      )
      .join("\n");
  if (zeroPoint !== undefined) {
    return both(
      (floats, _, whole) => ` return ${floats}(${whole}(code) - ${whole}(${zeroPoint})) * scale; `,
    );
  }
  // Twice the eight sizes of e2m1, four bits each: 0, 1, 2, 3, 4, 6, 8, 12.
  return both(
    (floats, words) => `
  let twice = (${words}(0xc8643210u) >> ((code & ${words}(7u)) << ${words}(2u))) & ${words}(15u);
  let size = ${floats}(twice) * 0.5;
  return select(size, -size, code > ${words}(7u)) * scale;
`,
  );
}
