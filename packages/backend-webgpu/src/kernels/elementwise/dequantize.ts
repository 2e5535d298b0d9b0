import {
  type DequantizeAttributes,
  type QuantizedFormat,
  UnsupportedError,
  quantizedFormats,
} from "@moiety/core";
import type { Kernel } from "../../kernel.ts";
import { read, u32, write } from "../../program.ts";
import { windowsOf } from "./windows.ts";
import { loadQuadText } from "./words.ts";

/** The formats that are read. */
const QUANTIZED_FORMATS: readonly QuantizedFormat[] = [
  "q8_row",
  "q8_block32",
  "q4_block32",
  "mxfp4",
];

/** `dequantize`: a code's number times the scale of its row or block. */
export const dequantize: Kernel = (call) => {
  const { format } = call.attributes<DequantizeAttributes>();
  if (!QUANTIZED_FORMATS.includes(format)) {
    throw new UnsupportedError(`the webgpu backend does not read the format ${format}`, format);
  }
  const { codesPerByte, block } = quantizedFormats[format];
  const codes = call.input(0);
  const scales = call.input(1);
  const { shape } = call.spec(0);
  const sharing = block ?? shape.at(-1) ?? 1;
  const aligned = sharing % 4 === 0;
  const y = call.make(0);
  const tensors = [
    { handle: codes.handle, bytes: 1 / codesPerByte },
    { handle: y, bytes: 4 },
  ];
  const size = codes.size * codesPerByte;
  for (const { start, count, segments, bases } of windowsOf(size, tensors)) {
    const quads = Math.ceil(count / 4);
    call.dispatch(
      {
        name: `dequantize ${format}`,
        variant: aligned ? "whole quads" : "any width",
        operands: {
          codes: read(codes.handle, "u32", segments[0]),
          scales: read(scales.handle, format === "mxfp4" ? "u32" : "f32"),
          y: write(y, "vec4<u32>", segments[1]),
        },
        params: {
          count: u32(quads),
          first: u32(start),
          base: u32((bases[0] ?? 0) / 4),
          sharing: u32(sharing),
        },
        text: () => ({
          declarations: codesText(format) + (format === "mxfp4" ? MICROSCALED : ""),
          main: `if (index < params.count) {
            let codes = codes_of(params.base + index);
            let at = params.first + 4u * index;
            store_y(index, ${bitsText(format, aligned)});
          }`,
        }),
      },
      { invocations: quads },
    );
  }
  return [y];
};

/** WGSL `codes_of(group)`: the codes of four neighbours. */
function codesText(format: QuantizedFormat): string {
  if (quantizedFormats[format].codesPerByte === 1) {
    return `${loadQuadText("codes", "u8")}
fn codes_of(group: u32) -> vec4<u32> { return quad_codes(group); }`;
  }
  return `fn codes_of(group: u32) -> vec4<u32> {
  let half = load_codes(group / 2u) >> (16u * (group % 2u));
  return (vec4<u32>(half) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
}`;
}

/** The bits of the values of `codes`, whose first is number `at`. */
function bitsText(format: QuantizedFormat, aligned: boolean): string {
  const { zeroPoint } = quantizedFormats[format];
  if (zeroPoint === undefined) return "microscaled(codes, scale_of(at / params.sharing))";
  const scale = (place: string): string => `load_scales(${place} / params.sharing)`;
  const scales = aligned
    ? scale("at")
    : `vec4<f32>(${["at", "(at + 1u)", "(at + 2u)", "(at + 3u)"].map(scale).join(", ")})`;
  return `bitcast<vec4<u32>>(vec4<f32>(vec4<i32>(codes) - vec4<i32>(${zeroPoint})) * ${scales})`;
}

/** Floats are put together from their bits, as a product may take what is below 2⁻¹²⁶ for zero. */
const MICROSCALED = `
fn scale_of(block: u32) -> u32 {
  return (load_scales(block / 4u) >> (8u * (block % 4u))) & 255u;
}
fn microscaled(codes: vec4<u32>, scale: u32) -> vec4<u32> {
  let sign = (codes >> vec4<u32>(3u)) << vec4<u32>(31u);
  if (scale == 255u) { return vec4<u32>(0x7fc00000u); }
  let size = codes & vec4<u32>(7u);
  // 0.5 is the only size below 1 beside 0, and has no fraction.
  let fraction = select(size & vec4<u32>(1u), vec4<u32>(0u), size == vec4<u32>(1u));
  let exponent = vec4<i32>(size >> vec4<u32>(1u)) + vec4<i32>(i32(scale) - 1);
  let significand = (vec4<u32>(2u) + fraction) << vec4<u32>(22u);
  let normal = (vec4<u32>(max(exponent, vec4<i32>(1))) << vec4<u32>(23u)) | (fraction << vec4<u32>(22u));
  let below = significand >> vec4<u32>(clamp(vec4<i32>(1) - exponent, vec4<i32>(0), vec4<i32>(8)));
  let finite = select(normal, below, exponent < vec4<i32>(1));
  let bounded = select(finite, vec4<u32>(0x7f800000u), exponent > vec4<i32>(254));
  return sign | select(bounded, vec4<u32>(0u), size == vec4<u32>(0u));
}
`;
