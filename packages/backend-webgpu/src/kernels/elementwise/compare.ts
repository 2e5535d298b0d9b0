import type { CompareKind, DType } from "@moiety/core";
import type { Kernel } from "../../kernel.ts";
import { along, rightOf } from "./binary.ts";
import { mapElements, wordType } from "./map.ts";
import { orderText } from "./order.ts";

const SIGNS: Readonly<Record<CompareKind, string>> = {
  eq: "==",
  ne: "!=",
  lt: "<",
  le: "<=",
  gt: ">",
  ge: ">=",
};

/** `compare`; f32 by its bits, with IEEE's rules for NaN. */
export const compare: Kernel = (call) => {
  const { kind, scalar } = call.attributes<{ kind: CompareKind; scalar?: number }>();
  const a = call.input(0);
  const { shape } = call.spec(0);
  const type = a.dtype === "f32" ? "u32" : wordType(a.dtype);
  const y = call.make(0);
  mapElements(call, y, {
    name: `compare ${kind} ${a.dtype}`,
    shape,
    type: "u32",
    sources: {
      a: along(a, shape, type),
      b: rightOf(call.optional(1), scalar, a.dtype, shape, type),
    },
    declarations: a.dtype === "f32" ? () => floatText(kind) : undefined,
    value: `select(vec4<u32>(0u), vec4<u32>(1u), ${conditionOf(kind, a.dtype)})`,
  });
  return [y];
};

function conditionOf(kind: CompareKind, dtype: DType): string {
  if (dtype === "f32") return "related(orderEqualZeros(a), orderEqualZeros(b))";
  if (dtype !== "bool") return `a ${SIGNS[kind]} b`;
  return `(a != vec4<u32>(0u)) ${SIGNS[kind]} (b != vec4<u32>(0u))`;
}

/** NaN has the order 0: it is unequal to everything, and in no other relation. */
function floatText(kind: CompareKind): string {
  const known = "(a != vec4<u32>(0u)) & (b != vec4<u32>(0u))";
  const related = `(a ${SIGNS[kind]} b)`;
  return `${orderText()}
fn related(a: vec4<u32>, b: vec4<u32>) -> vec4<bool> {
  let known = ${known};
  return ${kind === "ne" ? `${related} | !known` : `${related} & known`};
}`;
}
