import type { SafetensorsDtype } from "@moiety/checkpoints";
import type { DType } from "@moiety/core";

const STORED: Readonly<Record<DType, SafetensorsDtype>> = {
  f32: "F32",
  f64: "F64",
  i32: "I32",
  u32: "U32",
  bool: "BOOL",
  f16: "F16",
  bf16: "BF16",
  u8: "U8",
};

/** The file dtype that keeps a dtype's values as they are. */
export function storedAs(dtype: DType): SafetensorsDtype {
  return STORED[dtype];
}

/** The dtype that was stored as this; `undefined` for what a snapshot never holds. */
export function dtypeOf(stored: SafetensorsDtype): DType | undefined {
  return (Object.keys(STORED) as DType[]).find((dtype) => STORED[dtype] === stored);
}
