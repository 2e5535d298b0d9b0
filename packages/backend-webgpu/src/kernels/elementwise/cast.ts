import { type DType, bytesPerElement } from "@moiety/core";
import type { Kernel } from "../../kernel.ts";
import { read, u32, write } from "../../program.ts";
import { copyWhole } from "../layout/copy.ts";
import { conversionText } from "./conversions.ts";
import { windowsOf } from "./windows.ts";
import { loadQuadText, quadType, storeQuadText } from "./words.ts";

/** Dtypes whose 32 bits are kept where one becomes another. */
const WORDS: readonly DType[] = ["i32", "u32"];

/** `cast`: by integer arithmetic alone, so that no hardware's rounding or flushing shows. */
export const cast: Kernel = (call) => {
  const x = call.input(0);
  const { dtype } = call.spec(0);
  const y = call.make(0);
  const same = dtype === x.dtype || (WORDS.includes(dtype) && [...WORDS, "bool"].includes(x.dtype));
  if (same) {
    copyWhole(call, x.handle, y);
    return [y];
  }
  const tensors = [
    { handle: x.handle, bytes: bytesPerElement(x.dtype) },
    { handle: y, bytes: bytesPerElement(dtype) },
  ];
  for (const { count, segments, bases } of windowsOf(x.size, tensors)) {
    const quads = Math.ceil(count / 4);
    call.dispatch(
      {
        name: "cast",
        variant: `${x.dtype} ${dtype}`,
        operands: {
          x: read(x.handle, quadType(x.dtype), segments[0]),
          y: write(y, quadType(dtype), segments[1]),
        },
        params: {
          count: u32(quads),
          x_base: u32((bases[0] ?? 0) / 4),
          y_base: u32((bases[1] ?? 0) / 4),
        },
        text: () => ({
          declarations: [
            loadQuadText("x", x.dtype),
            storeQuadText("y", dtype),
            conversionText(x.dtype, dtype),
          ].join("\n"),
          main: `if (index < params.count) {
            putQuad_y(params.y_base + index, converted(quad_x(params.x_base + index)));
          }`,
        }),
      },
      { invocations: quads },
    );
  }
  return [y];
};
