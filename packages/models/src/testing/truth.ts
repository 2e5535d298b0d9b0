import { fileURLToPath } from "node:url";
import { type Checkpoint, openSafetensors, toHost } from "@moiety/checkpoints";
import { fileSource, openCheckpoint } from "@moiety/checkpoints/node";

/** A recorded model: what Hugging Face transformers 4.57.6 gave for it, in float64. */
export interface Truth {
  readonly checkpoint: Checkpoint;
  /** Values and shape of a recorded tensor. */
  tensor(name: string): Promise<{ readonly data: Float64Array; readonly shape: readonly number[] }>;
  /** Largest |value| among the recorded float64 tensors. */
  readonly scale: number;
  close(): Promise<void>;
}

/** Opens the recorded model of a family. */
export async function openTruth(family: string): Promise<Truth> {
  const folder = fileURLToPath(new URL(`../testdata/${family}/`, import.meta.url));
  const checkpoint = await openCheckpoint(folder);
  const source = await fileSource(`${folder}tensors.safetensors`);
  const file = await openSafetensors(source);
  const tensor: Truth["tensor"] = async (name) => {
    const view = await file.read(name);
    const host = view.dtype === "I64" ? toHost(view, "i32") : toHost(view, "f64");
    return { data: Float64Array.from(host.data), shape: host.shape };
  };
  let scale = 0;
  for (const [name, info] of file.tensors) {
    if (info.dtype !== "F64") continue;
    for (const value of (await tensor(name)).data) scale = Math.max(scale, Math.abs(value));
  }
  return {
    checkpoint,
    tensor,
    scale,
    async close() {
      await source.close();
      await checkpoint.close();
    },
  };
}

/**
 * The worst difference as a share of what is allowed: 1e-10 of the largest value in its row, or of a
 * hundredth of the case's largest value. Above 1 (or NaN) fails.
 */
export function worstShare(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  width: number,
  scale: number,
): number {
  if (actual.length !== expected.length) return Number.NaN;
  let worst = 0;
  for (let start = 0; start < expected.length; start += width) {
    let largest = 1e-2 * scale;
    for (let at = start; at < start + width; at++) {
      largest = Math.max(largest, Math.abs(expected[at] ?? Number.NaN));
    }
    for (let at = start; at < start + width; at++) {
      const share = Math.abs((actual[at] ?? Number.NaN) - (expected[at] ?? 0)) / (1e-10 * largest);
      if (Number.isNaN(share)) return share;
      worst = Math.max(worst, share);
    }
  }
  return worst;
}
