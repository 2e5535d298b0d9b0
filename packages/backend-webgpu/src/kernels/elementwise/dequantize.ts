import { type DequantizeAttributes, UnsupportedError } from "@moiety/core";
import type { Kernel } from "../../kernel.ts";
import { read, u32, write } from "../../program.ts";
import { windowsOf } from "./windows.ts";
import { loadQuadText } from "./words.ts";

/** The quantised formats that `dequantize` reads. */
export const QUANTIZED_FORMATS: readonly DequantizeAttributes["format"][] = ["q8_row"];

/** `dequantize`: `(code − 128) · scale`, with one scale for each row. */
export const dequantize: Kernel = (call) => {
  const { format } = call.attributes<DequantizeAttributes>();
  if (!QUANTIZED_FORMATS.includes(format)) {
    throw new UnsupportedError(`the webgpu backend does not read the format ${format}`, format);
  }
  const codes = call.input(0);
  const scales = call.input(1);
  const width = codes.shape.at(-1) ?? 1;
  const aligned = width % 4 === 0;
  const y = call.make(0);
  const tensors = [
    { handle: codes.handle, bytes: 1 },
    { handle: y, bytes: 4 },
  ];
  for (const { start, count, segments, bases } of windowsOf(codes.size, tensors)) {
    const quads = Math.ceil(count / 4);
    call.dispatch(
      {
        name: "dequantize q8_row",
        variant: aligned ? "whole quads" : "any width",
        operands: {
          codes: read(codes.handle, "u32", segments[0]),
          scales: read(scales.handle, "f32"),
          y: write(y, "vec4<f32>", segments[1]),
        },
        params: {
          count: u32(quads),
          first: u32(start),
          base: u32((bases[0] ?? 0) / 4),
          width: u32(width),
        },
        text: () => ({
          declarations: loadQuadText("codes", "u8"),
          main: `if (index < params.count) {
            let values = vec4<f32>(vec4<i32>(quad_codes(params.base + index)) - vec4<i32>(128));
            let at = params.first + 4u * index;
            store_y(index, values * ${aligned ? ONE_SCALE : FOUR_SCALES});
          }`,
        }),
      },
      { invocations: quads },
    );
  }
  return [y];
};

const ONE_SCALE = "load_scales(at / params.width)";
const FOUR_SCALES =
  "vec4<f32>(load_scales(at / params.width), load_scales((at + 1u) / params.width), " +
  "load_scales((at + 2u) / params.width), load_scales((at + 3u) / params.width))";
