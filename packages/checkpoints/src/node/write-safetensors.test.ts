import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigError, ShapeError } from "@moiety/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type TensorEntry, encodeSafetensors } from "../safetensors/write.ts";
import { writeSafetensors } from "./write-safetensors.ts";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "moiety-"));
});
afterEach(() => rm(folder, { recursive: true }));

const entry = (name: string, bytes: TensorEntry["bytes"]): TensorEntry => ({
  name,
  dtype: "U8",
  shape: [3],
  bytes,
});
const good = [
  entry("b", () => Uint8Array.of(1, 2, 3)),
  entry("a", async () => Uint8Array.of(4, 5, 6)),
];

describe("writeSafetensors", () => {
  it("writes what encodeSafetensors makes, over what was there", async () => {
    const path = join(folder, "x.safetensors");
    await writeFile(path, "old");
    await writeSafetensors(path, good, { format: "pt" });
    const expected = await encodeSafetensors(good, { format: "pt" });
    expect(new Uint8Array(await readFile(path))).toEqual(expected);
    expect(await readdir(folder)).toEqual(["x.safetensors"]);
  });

  it.each<[string, TensorEntry]>([
    ["too few bytes", entry("c", () => new Uint8Array(2))],
    ["a failing source", entry("c", () => Promise.reject(new ShapeError("lost")))],
  ])("leaves the old file whole, and nothing else, after %s", async (_, bad) => {
    const path = join(folder, "x.safetensors");
    await writeFile(path, "old");
    await expect(writeSafetensors(path, [...good, bad])).rejects.toThrow(ShapeError);
    expect(await readFile(path, "utf8")).toBe("old");
    expect(await readdir(folder)).toEqual(["x.safetensors"]);
  });

  it("writes nothing at all for entries that make no sense", async () => {
    const twice = writeSafetensors(join(folder, "x"), [...good, ...good]);
    await expect(twice).rejects.toThrow(ConfigError);
    expect(await readdir(folder)).toEqual([]);
  });

  it("names a folder that cannot be written", async () => {
    const missing = writeSafetensors(join(folder, "none", "x"), good);
    await expect(missing).rejects.toThrow(ConfigError);
    await expect(missing).rejects.toThrow(`cannot write into ${folder}/none: it does not exist`);
    await writeFile(join(folder, "file"), "");
    const inside = writeSafetensors(join(folder, "file", "x"), good);
    await expect(inside).rejects.toThrow("a part of the path is not a folder");
  });

  it("does not take the place of a folder", async () => {
    await mkdir(join(folder, "x"));
    const onto = writeSafetensors(join(folder, "x"), good);
    await expect(onto).rejects.toThrow(`cannot write ${folder}/x: it is a folder`);
    expect(await readdir(folder)).toEqual(["x"]);
  });
});
