import { FormatError } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { type ByteSource, blobSource, bytesSource, fillBytes, readBytes } from "./source.ts";

const bytes = Uint8Array.from([1, 2, 3, 4, 5]);

describe.each<[string, ByteSource]>([
  ["bytes", bytesSource(bytes)],
  ["blob", blobSource(new Blob([bytes]))],
])("a source over %s", (_, source) => {
  it("reads ranges", async () => {
    expect(source.size).toBe(5);
    expect([...(await readBytes(source, 1, 3))]).toEqual([2, 3, 4]);
    expect([...(await readBytes(source, 5, 0))]).toEqual([]);
  });

  it("fills a target", async () => {
    const target = new Uint8Array(2);
    await fillBytes(source, 3, target);
    expect([...target]).toEqual([4, 5]);
  });

  it("names the byte at which it ends", async () => {
    const failure = await readBytes(source, 3, 4).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(FormatError);
    expect(failure).toMatchObject({ offset: 5, code: "FORMAT" });
  });
});

it("refuses a source that answers with more than it was asked for", async () => {
  const source: ByteSource = { size: 5, name: "greedy", read: async () => bytes };
  await expect(fillBytes(source, 0, new Uint8Array(2))).rejects.toThrow(
    /greedy: asked for 2 bytes/,
  );
});

it("lets a source fill its target itself", async () => {
  const source: ByteSource = {
    size: 5,
    read: async () => expect.fail("read was called"),
    readInto: async (offset, target) => void target.fill(offset),
  };
  const target = new Uint8Array(2);
  await fillBytes(source, 3, target);
  expect([...target]).toEqual([3, 3]);
});
