import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigError, FormatError, UseAfterDisposeError } from "@moiety/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fillBytes, readBytes } from "../source.ts";
import { fileSource } from "./file-source.ts";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "moiety-"));
});
afterEach(() => rm(folder, { recursive: true }));

describe("fileSource", () => {
  it("reads ranges", async () => {
    const path = join(folder, "file");
    await writeFile(path, Uint8Array.of(1, 2, 3, 4));
    const source = await fileSource(path);
    expect(source).toMatchObject({ size: 4, name: path });
    expect([...(await readBytes(source, 1, 2))]).toEqual([2, 3]);
    const target = new Uint8Array(3);
    await fillBytes(source, 1, target);
    expect([...target]).toEqual([2, 3, 4]);
    await source.close();
  });

  it("refuses paths that are no files", async () => {
    const missing = fileSource(join(folder, "none"));
    await expect(missing).rejects.toThrow(ConfigError);
    await expect(missing).rejects.toThrow(`cannot read ${folder}/none: it does not exist`);
    await expect(fileSource(folder)).rejects.toThrow("it is a folder; check the path");
  });

  it("notices that the file became shorter", async () => {
    const path = join(folder, "file");
    await writeFile(path, new Uint8Array(8));
    const source = await fileSource(path);
    await truncate(path, 3);
    const failure = await readBytes(source, 1, 4).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(FormatError);
    expect(failure).toMatchObject({ offset: 3 });
    await source.close();
  });

  it("refuses reads once it is closed; closing twice does nothing", async () => {
    const path = join(folder, "file");
    await writeFile(path, new Uint8Array(8));
    const source = await fileSource(path);
    await source.close();
    await source.close();
    await expect(source.read(0, 1)).rejects.toThrow(UseAfterDisposeError);
  });
});
