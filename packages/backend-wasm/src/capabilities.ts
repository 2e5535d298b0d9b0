import { type Capabilities, productFormats } from "@moiety/core";
import { KERNELS } from "./kernels.ts";
import type { Settings } from "./options.ts";

/** Storage formats of weights that kernels read. */
const FORMATS: readonly string[] = ["f16", "bf16", ...productFormats];

/** Sizes at which kernels cut their work. */
const TILE_SIZES: readonly number[] = [4, 8, 64];

/** The manifest of a backend with these settings, in a memory that holds so many bytes. */
export function capabilitiesOf(settings: Settings, bytes: number): Capabilities {
  const { threads, threadsNote, fused, relaxedDot, memoryLimit } = settings;
  return {
    dtypes: ["f32", "i32", "u32", "bool", "f16", "bf16", "u8"],
    ops: Object.keys(KERNELS),
    formats: FORMATS,
    accumulation: { dtype: "f32", order: "index order" },
    determinism: "bitwise",
    batchInvariant: true,
    recovers: true,
    limits: { bufferBytes: bytes, totalBytes: Math.min(memoryLimit, bytes) },
    tileSizes: TILE_SIZES,
    details: {
      threads,
      ...(threadsNote !== undefined && { threadsNote }),
      exact: !fused,
      relaxedDot,
    },
  };
}
