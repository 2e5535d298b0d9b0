/** What a matrix of the model is stored in: floats, or blocks of 32 numbers with a scale. */
export type Storage = "f32" | "f16" | "q8" | "q4";

/** What the experts' matrices are stored in. */
export type ExpertStorage = Exclude<Storage, "f16">;

/**
 * How our model is held: in float32, or in a format of `quantize` of `@moiety/models`. Those that end
 * with `a8` round activations to 8 bits, as llama.cpp does where weights are in blocks.
 */
export const formats = ["f32", "q8_32_a8", "q8_32", "q4_32_a8", "q4_32"] as const;
/** One of {@link formats}. */
export type Format = (typeof formats)[number];

/** What a format stores weights in. */
export function storageOf(format: Format): ExpertStorage {
  if (format === "f32") return "f32";
  return format.startsWith("q8") ? "q8" : "q4";
}

/** Whether products read activations that were rounded. */
export function roundsActivations(format: Format): boolean {
  return format.endsWith("_a8");
}
