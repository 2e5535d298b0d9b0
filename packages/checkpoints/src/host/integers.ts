import type { DType } from "@moiety/core";
import type { SafetensorsDtype } from "../safetensors/dtype.ts";

/** Reads one integer. Those beyond 2^53 come rounded, still far outside every 32-bit range. */
export function integerReader(dtype: SafetensorsDtype): (data: DataView, at: number) => number {
  switch (dtype) {
    case "I64":
      return (data, at) => data.getInt32(at + 4, true) * 2 ** 32 + data.getUint32(at, true);
    case "U64":
      return (data, at) => data.getUint32(at + 4, true) * 2 ** 32 + data.getUint32(at, true);
    case "I32":
      return (data, at) => data.getInt32(at, true);
    case "U32":
      return (data, at) => data.getUint32(at, true);
    case "I16":
      return (data, at) => data.getInt16(at, true);
    case "U16":
      return (data, at) => data.getUint16(at, true);
    case "I8":
      return (data, at) => data.getInt8(at);
    default:
      return (data, at) => data.getUint8(at);
  }
}

/** Writes one integer that is in range. */
export function integerWriter(
  dtype: SafetensorsDtype,
): (data: DataView, at: number, value: number) => void {
  switch (dtype) {
    case "I64":
    case "U64":
      return (data, at, value) => data.setBigInt64(at, BigInt(value), true);
    case "I32":
    case "U32":
      return (data, at, value) => data.setUint32(at, value, true);
    case "I16":
    case "U16":
      return (data, at, value) => data.setUint16(at, value, true);
    default:
      return (data, at, value) => data.setUint8(at, value);
  }
}

/** Least and largest value of an integer dtype, of a file or a host; 64 bits hold all of 32. */
export function rangeOf(dtype: SafetensorsDtype | DType): readonly [number, number] {
  switch (dtype) {
    case "BOOL":
    case "bool":
      return [0, 1];
    case "U8":
    case "u8":
      return [0, 0xff];
    case "I8":
      return [-0x80, 0x7f];
    case "U16":
      return [0, 0xffff];
    case "I16":
      return [-0x8000, 0x7fff];
    case "U32":
    case "u32":
      return [0, 0xffffffff];
    case "U64":
      return [0, Number.MAX_SAFE_INTEGER];
    case "I64":
      return [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER];
    default:
      return [-0x80000000, 0x7fffffff];
  }
}
