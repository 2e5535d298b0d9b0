import { ConfigError, FormatError } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { encodeSafetensors } from "../safetensors/write.ts";
import type { BlobLike } from "../source.ts";
import { openFolder } from "./checkpoint.ts";
import { type FileFolder, directoryFolder, filesFolder } from "./folder.ts";

const tensor = (name: string, value: number) =>
  ({ name, dtype: "U8", shape: [1], bytes: () => Uint8Array.of(value) }) as const;

/** The files of a model of two shards. */
async function modelFiles(): Promise<File[]> {
  const index = { weight_map: { a: "s-1", b: "s-2" } };
  return [
    new File(['{"model_type": "olmoe"}'], "config.json"),
    new File([JSON.stringify(index)], "model.safetensors.index.json"),
    new File([new Uint8Array(await encodeSafetensors([tensor("a", 1)]))], "s-1"),
    new File([new Uint8Array(await encodeSafetensors([tensor("b", 2)]))], "s-2"),
  ];
}

/** A folder handle as browsers have them. */
function handleOf(files: readonly File[]): FileFolder {
  return directoryFolder({
    name: "olmoe",
    async getFileHandle(name) {
      const file = files.find((candidate) => candidate.name === name);
      if (file === undefined) throw new DOMException(`no ${name}`, "NotFoundError");
      return { getFile: async (): Promise<BlobLike> => file };
    },
  });
}

describe.each([
  ["files that were picked", (files: readonly File[]) => filesFolder(files), "the files", ""],
  ["a folder handle", handleOf, "olmoe", "olmoe/"],
])("%s", (_, folderOf, name, prefix) => {
  it("open as a model", async () => {
    const checkpoint = await openFolder(folderOf(await modelFiles()));
    expect(checkpoint.folder).toBe(name);
    expect([...checkpoint.tensors.keys()]).toEqual(["a", "b"]);
    expect([...(await checkpoint.read("b")).bytes]).toEqual([2]);
    await checkpoint.close();
  });

  it("name what is missing", async () => {
    const [config, index, ...shards] = await modelFiles();
    const open = (files: readonly (File | undefined)[]): Promise<unknown> =>
      openFolder(folderOf(files.flatMap((file) => file ?? [])));
    await expect(open([])).rejects.toThrow(ConfigError);
    await expect(open([])).rejects.toThrow(`cannot read ${prefix}config.json: it does not exist`);
    await expect(open([config])).rejects.toThrow(`${name} holds no weights`);
    await expect(open([config, index, shards[0]])).rejects.toThrow(`cannot read ${prefix}s-2`);
    const cut = new File([(shards[1] as File).slice(0, 20)], "s-2");
    await expect(open([config, index, shards[0], cut])).rejects.toThrow(FormatError);
    await expect(open([config, index, shards[0], cut])).rejects.toThrow(
      `${prefix}s-2: ends at byte`,
    );
  });
});

it("closes every file where one cannot be opened or is damaged", async () => {
  const open = new Set<string>();
  const folder: FileFolder = {
    name: "watched",
    nameOf: (file) => file,
    async open(file) {
      const found = await filesFolder(await modelFiles()).open(file);
      if (found === undefined || file === broken) return undefined;
      open.add(file);
      const bytes = file === damaged ? { size: 4 } : {};
      return { ...found, ...bytes, close: async () => void open.delete(file) };
    },
  };
  let broken = "s-2";
  let damaged = "";
  await expect(openFolder(folder)).rejects.toThrow("cannot read s-2");
  expect([...open]).toEqual([]);
  [broken, damaged] = ["", "s-1"];
  await expect(openFolder(folder)).rejects.toThrow(FormatError);
  expect([...open]).toEqual([]);
});

it("passes on what a folder handle refuses for another reason", async () => {
  const folder = directoryFolder({
    name: "locked",
    getFileHandle: async () => Promise.reject(new DOMException("not allowed", "NotAllowedError")),
  });
  await expect(openFolder(folder)).rejects.toThrow("not allowed");
});
