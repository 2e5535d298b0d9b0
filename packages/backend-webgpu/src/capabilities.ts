import type { Capabilities } from "@moiety/core";
import type { GpuContext } from "./context.ts";
import { FORMATS, KERNELS, TILE_SIZES } from "./kernels.ts";
import type { Settings } from "./options.ts";

/** What the backend can do on a device. */
export function capabilitiesOf(context: GpuContext, settings: Settings): Capabilities {
  const { memoryLimit } = settings;
  return {
    dtypes: ["f32", "i32", "u32", "bool", "f16", "bf16", "u8"],
    ops: Object.keys(KERNELS),
    formats: FORMATS,
    fusedFormats: FORMATS,
    accumulation: {
      dtype: "f32",
      order: context.batchInvariant
        ? "blocks of 64 in index order"
        : "blocks of 64 in index order; by lanes where there are few rows",
    },
    determinism: "bitwise",
    batchInvariant: context.batchInvariant,
    recovers: typeof settings.device !== "object",
    limits: {
      totalBytes: Number.isFinite(memoryLimit) ? memoryLimit : undefined,
      bindingBytes: context.segmentBytes,
    },
    tileSizes: TILE_SIZES,
    details: {
      adapter: context.info.text,
      software: context.software,
      shaderF16: context.f16,
      subgroups: context.subgroups,
      subgroupSize: context.subgroupSize,
      tiling: context.tiling,
    },
  };
}
