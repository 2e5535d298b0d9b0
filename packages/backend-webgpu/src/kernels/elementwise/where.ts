import type { DType, Shape, WhereAttributes } from "@moiety/core";
import type { Input, Kernel } from "../../kernel.ts";
import { along, numberOf } from "./binary.ts";
import { type Source, mapElements } from "./map.ts";

/** `where`: moves bits, so that what is not chosen cannot matter. */
export const where: Kernel = (call) => {
  const scalars = call.attributes<WhereAttributes>();
  const { shape, dtype } = call.spec(0);
  const y = call.make(0);
  mapElements(call, y, {
    name: "where",
    shape,
    type: "u32",
    sources: {
      c: along(call.input(0), shape, "u32"),
      a: bitsOf(call.optional(1), scalars.a, dtype, shape),
      b: bitsOf(call.optional(2), scalars.b, dtype, shape),
    },
    value: "select(b, a, c != vec4<u32>(0u))",
  });
  return [y];
};

function bitsOf(
  operand: Input | undefined,
  scalar: number | undefined,
  dtype: DType,
  shape: Shape,
): Source {
  return operand ? along(operand, shape, "u32") : numberOf(scalar ?? 0, dtype, "u32");
}
