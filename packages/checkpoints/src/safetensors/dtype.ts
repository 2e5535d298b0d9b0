/** The element types of safetensors that are read and written here, by their names in the file. */
export type SafetensorsDtype =
  | "BOOL"
  | "U8"
  | "I8"
  | "F8_E5M2"
  | "F8_E4M3"
  | "I16"
  | "U16"
  | "F16"
  | "BF16"
  | "I32"
  | "U32"
  | "F32"
  | "F64"
  | "I64"
  | "U64";

// In the order of the enum in Hugging Face's safetensors/src/tensor.rs: by rising alignment. The
// writer lays tensors out by this order, last first, so it decides bytes.
const ORDER: readonly SafetensorsDtype[] = [
  "BOOL",
  "U8",
  "I8",
  "F8_E5M2",
  "F8_E4M3",
  "I16",
  "U16",
  "F16",
  "BF16",
  "I32",
  "U32",
  "F32",
  "F64",
  "I64",
  "U64",
];

/** All of them, by rising alignment. */
export function safetensorsDtypes(): readonly SafetensorsDtype[] {
  return ORDER;
}

/** Whether a name is one of them. */
export function isSafetensorsDtype(name: string): name is SafetensorsDtype {
  return (ORDER as readonly string[]).includes(name);
}

/** Bytes that one element takes in a file. */
export function safetensorsBytes(dtype: SafetensorsDtype): number {
  if (dtype.endsWith("64")) return 8;
  if (dtype.endsWith("32")) return 4;
  return dtype.endsWith("16") ? 2 : 1;
}

/** Place of a dtype in the order of alignment. */
export function alignmentRank(dtype: SafetensorsDtype): number {
  return ORDER.indexOf(dtype);
}
