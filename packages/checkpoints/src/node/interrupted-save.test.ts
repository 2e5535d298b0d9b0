import type * as FileSystem from "node:fs/promises";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { jsonDocument } from "../json/document.ts";
import type { TensorEntry } from "../safetensors/write.ts";
import { openCheckpoint } from "./open-checkpoint.ts";
import { saveCheckpoint } from "./save-checkpoint.ts";

/** How many changes of the file system there may still be: then the machine stands still. */
const life = vi.hoisted(() => ({ left: Number.POSITIVE_INFINITY }));

vi.mock("node:fs/promises", async (importOriginal) => {
  const real = await importOriginal<typeof FileSystem>();
  const dying =
    <Args extends unknown[], Result>(change: (...args: Args) => Promise<Result>) =>
    async (...args: Args): Promise<Result> => {
      if (life.left-- <= 0) throw new Error("the machine stands still");
      return change(...args);
    };
  const { rename, link, copyFile, rm: remove, open } = real;
  return {
    ...real,
    rename: dying(rename),
    link: dying(link),
    copyFile: dying(copyFile),
    rm: dying(remove),
    open: async (path: string, flags: string) => {
      const handle = await (flags === "wx" ? dying(open) : open)(path, flags);
      // Nothing here depends on what a loss of power would leave.
      return Object.assign(handle, { sync: () => Promise.resolve() });
    },
  };
});

const NAMES = ["a", "b", "c", "d"];
const BYTES = 10;
let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "moiety-"));
});
afterEach(() => rm(folder, { recursive: true }));

/** Saves weights that are all of one value, in so many shards. */
async function save(value: number, shards: number): Promise<void> {
  const bytes = new Uint8Array(BYTES).fill(value);
  const tensors = NAMES.map((name): TensorEntry => ({
    name,
    dtype: "U8",
    shape: [BYTES],
    bytes: () => bytes,
  }));
  const maxShardBytes = (NAMES.length / shards) * BYTES;
  await saveCheckpoint(folder, { config: jsonDocument({}), tensors, maxShardBytes });
}

/** The one value of the weights that stand in the folder. */
async function valueOf(): Promise<number> {
  const checkpoint = await openCheckpoint(folder);
  expect([...checkpoint.tensors.keys()].sort()).toEqual(NAMES);
  const values = new Set<number>();
  for (const name of NAMES)
    for (const byte of (await checkpoint.read(name)).bytes) values.add(byte);
  await checkpoint.close();
  expect([...values]).toHaveLength(1);
  return [...values][0] ?? -1;
}

const counts = [1, 2, 4];
const turns = counts.flatMap((from) => counts.map((to) => [from, to] as const));

describe.each(turns)("a save over %i files that makes %i", (from, to) => {
  it("leaves the old weights or the new ones, whole, wherever it ends", async () => {
    const seen: number[] = [];
    for (let steps = 0; ; steps++) {
      await save(1, from);
      life.left = steps;
      const ended = await save(2, to).then(
        () => true,
        () => false,
      );
      life.left = Number.POSITIVE_INFINITY;
      seen.push(await valueOf());
      if (ended) break;
    }
    // From the step on at which the new weights are there, they stay.
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
    expect([seen[0], seen.at(-1)]).toEqual([1, 2]);
    expect(seen.length).toBeGreaterThan(to);
    await save(3, to);
    const weights = (await readdir(folder)).filter((file) => /^model.*\.safetensors$/.test(file));
    expect(weights).toHaveLength(to);
  });
});
