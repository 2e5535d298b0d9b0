import type { SafetensorsMetadata } from "../safetensors/info.ts";
import { type TensorEntry, streamSafetensors } from "../safetensors/write.ts";
import { stageFile } from "./stage.ts";

/**
 * Writes a safetensors file, laid out just as Hugging Face's writer does, holding one tensor at a
 * time. It goes to a temporary name beside `path` first and is renamed when it lies whole on the
 * disk: `path` is never half-written, and untouched if anything fails.
 *
 * Throws `ConfigError` for a folder that cannot be written, what `layoutSafetensors` throws, and
 * `ShapeError` for bytes that do not fit their tensor.
 */
export async function writeSafetensors(
  path: string,
  entries: Iterable<TensorEntry>,
  metadata?: SafetensorsMetadata,
): Promise<void> {
  const staged = await stageFile(path, streamSafetensors(entries, metadata));
  await staged.commit();
}
