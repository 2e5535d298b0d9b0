import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Checkpoint, JsonDocument, JsonValue } from "@moiety/checkpoints";
import { openCheckpoint, saveCheckpoint } from "@moiety/checkpoints/node";
import { type ReadyModel, saveModel } from "@moiety/models";
import type { Ledger } from "./ledger.ts";

/**
 * Saves a loaded model into a temporary folder and holds that against the folder it came from:
 * names, shapes, dtypes and bytes of the tensors, and both configurations.
 */
export async function compareSavedAgain(
  ledger: Ledger,
  original: Checkpoint,
  ready: ReadyModel,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "moiety-goldens-"));
  try {
    await saveModel((content) => saveCheckpoint(folder, content), ready);
    const again = await openCheckpoint(folder);
    try {
      for (const difference of await differences(original, again)) {
        ledger.fail(`saved again: ${difference}`);
      }
    } finally {
      await again.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** What two model folders differ in, each in a few words. */
export async function differences(original: Checkpoint, again: Checkpoint): Promise<string[]> {
  const found = [
    ...documentDifferences("config.json", original.config, again.config),
    ...documentDifferences(
      "generation_config.json",
      original.generationConfig,
      again.generationConfig,
    ),
  ];
  if (JSON.stringify(original.metadata) !== JSON.stringify(again.metadata)) {
    found.push(`the metadata of the weights is ${JSON.stringify(again.metadata)}`);
  }
  for (const name of again.tensors.keys()) {
    if (!original.tensors.has(name)) found.push(`the tensor ${name} is new`);
  }
  for (const [name, { dtype, shape }] of original.tensors) {
    const info = again.tensors.get(name);
    if (info === undefined) found.push(`the tensor ${name} is missing`);
    else if (info.dtype !== dtype || info.shape.join() !== shape.join()) {
      found.push(`${name} is ${info.dtype} [${info.shape}], not ${dtype} [${shape}]`);
    } else if (!sameBytes((await original.read(name)).bytes, (await again.read(name)).bytes)) {
      found.push(`the bytes of ${name} differ`);
    }
  }
  return found;
}

function documentDifferences(
  file: string,
  original: JsonDocument | undefined,
  again: JsonDocument | undefined,
): string[] {
  if (original === undefined || again === undefined) {
    return original === again ? [] : [`${file} is ${again ? "new" : "missing"}`];
  }
  const keys = new Set([...Object.keys(original.value), ...Object.keys(again.value)]);
  const found = [...keys]
    .filter((key) => show(original.value[key]) !== show(again.value[key]))
    .map((key) => `${file}: ${key} is ${show(again.value[key])}, not ${show(original.value[key])}`);
  const floats = [...original.floats].sort().join() === [...again.floats].sort().join();
  return floats ? found : [...found, `${file}: other numbers are floats`];
}

function show(value: JsonValue | undefined): string {
  const plain = (_: string, item: unknown): unknown =>
    typeof item === "bigint" ? `${item}n` : item;
  return value === undefined ? "absent" : JSON.stringify(value, plain);
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
