import { ConfigError, FormatError, ShapeError } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { bytesSource } from "../source.ts";
import { type SafetensorsFile, openSafetensors } from "./read.ts";

/** A file of a header as written here and so many bytes 0, 1, 2, … behind it. */
function fileOf(header: string, dataBytes: number): Uint8Array {
  const json = new TextEncoder().encode(header);
  const file = new Uint8Array(8 + json.length + dataBytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true);
  file.set(json, 8);
  for (let index = 0; index < dataBytes; index++) file[8 + json.length + index] = index;
  return file;
}

const open = (file: Uint8Array): Promise<SafetensorsFile> =>
  openSafetensors(bytesSource(file, "x.safetensors"));

const a = (dtype: string, shape: string, offsets: string): string =>
  `{"a":{"dtype":"${dtype}","shape":${shape},"data_offsets":${offsets}}}`;

describe("openSafetensors", () => {
  it("lists tensors in the order of their bytes and reads them", async () => {
    const header =
      '{"b":{"dtype":"U8","shape":[2],"data_offsets":[6,8]},"__metadata__":{"format":"pt"},' +
      '"a":{"data_offsets":[0,6],"shape":[3,1],"dtype":"I16"},' +
      '"none":{"dtype":"F32","shape":[0,5],"data_offsets":[6,6]}}   ';
    const file = await open(fileOf(header, 8));
    expect(file.metadata).toEqual({ format: "pt" });
    expect([...file.tensors.keys()]).toEqual(["a", "none", "b"]);
    const dataStart = 8 + header.length;
    expect(file.tensors.get("a")).toEqual({
      name: "a",
      dtype: "I16",
      shape: [3, 1],
      offset: dataStart,
      byteLength: 6,
    });
    expect(await file.read("b")).toEqual({
      name: "b",
      dtype: "U8",
      shape: [2],
      bytes: Uint8Array.of(6, 7),
    });
    expect((await file.read("none")).bytes).toHaveLength(0);
    expect(await file.readRows("a", 1, 3)).toEqual({
      name: "a",
      dtype: "I16",
      shape: [2, 1],
      bytes: Uint8Array.of(2, 3, 4, 5),
    });
    expect((await file.readRows("none", 0, 0)).shape).toEqual([0, 5]);
    const target = new Uint8Array(3);
    await file.readInto("a", 2, target);
    expect([...target]).toEqual([2, 3, 4]);
  });

  it("takes a file without tensors, and one without metadata", async () => {
    expect((await open(fileOf("{}", 0))).tensors.size).toBe(0);
    expect((await open(fileOf('{"__metadata__":null}', 0))).metadata).toBeUndefined();
  });

  it("keeps names that objects treat as their own", async () => {
    const header =
      '{"__metadata__":{"__proto__":"x"},' +
      '"__proto__":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}';
    const file = await open(fileOf(header, 1));
    expect([...file.tensors.keys()]).toEqual(["__proto__"]);
    expect(Object.entries(file.metadata ?? {})).toEqual([["__proto__", "x"]]);
  });

  it("refuses names and rows that are not there", async () => {
    const file = await open(fileOf(a("F32", "[2,1]", "[0,8]"), 8));
    await expect(file.read("b")).rejects.toThrow(ConfigError);
    await expect(file.read("b")).rejects.toThrow('there is no tensor "b"; there are a');
    await expect(file.readRows("b", 0, 1)).rejects.toThrow(ConfigError);
    for (const [start, end] of [
      [-1, 1],
      [0, 3],
      [2, 1],
      [0.5, 1],
      [0, Number.NaN],
    ] as const) {
      await expect(file.readRows("a", start, end)).rejects.toThrow(ShapeError);
    }
    await expect(file.readInto("a", 4, new Uint8Array(5))).rejects.toThrow(ShapeError);
    await expect(file.readInto("a", -1, new Uint8Array(1))).rejects.toThrow(ShapeError);
    const scalar = await open(fileOf(a("U8", "[]", "[0,1]"), 1));
    await expect(scalar.readRows("a", 0, 1)).rejects.toThrow("a scalar: read it whole");
  });
});

describe("a damaged file", () => {
  async function failureOf(file: Uint8Array): Promise<FormatError> {
    const failure = await open(file).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(FormatError);
    return failure as FormatError;
  }

  it.each([
    ["is empty", new Uint8Array(0), 0, "has 0 bytes"],
    ["is short", new Uint8Array(7), 7, "has 7 bytes"],
    ["gives a header beyond 100 MB", new Uint8Array(16).fill(255, 0, 8), 0, "18446744073709552000"],
    [
      "gives a header of 100000001 bytes",
      Uint8Array.of(1, 0xe1, 0xf5, 5, 0, 0, 0, 0),
      0,
      "allowed",
    ],
    ["ends inside the header", fileOf("{}", 0).subarray(0, 9), 9, "header runs to byte 10"],
    ["has an empty header", fileOf("", 0), 8, "does not begin with {"],
    ["begins with a space", fileOf(" {}", 0), 8, "does not begin with {"],
    ["holds an array", fileOf("[]", 0), 8, "does not begin with {"],
    ["is cut short in its data", fileOf(a("F32", "[2]", "[0,8]"), 7), 62 + 7, "cut short"],
    ["has bytes behind its tensors", fileOf(a("F32", "[2]", "[0,8]"), 9), 62 + 8, "no tensor"],
    ["has bytes and no tensors", fileOf("{}", 1), 10, "the header ends at byte 10"],
  ])("that %s is refused", async (_, file, offset, reason) => {
    const failure = await failureOf(file);
    expect(failure.message).toContain("x.safetensors: ");
    expect(failure.message).toContain(reason);
    expect(failure.offset).toBe(offset);
  });

  it.each([
    ['{"a":1}', 9, 'the entry "a" is a number'],
    ['{"a":{"shape":[1],"data_offsets":[0,4]}}', 9, 'tensor "a" has no dtype'],
    ['{"a":{"dtype":"F32","data_offsets":[0,4]}}', 9, 'tensor "a" has no shape'],
    ['{"a":{"dtype":"F32","shape":[1]}}', 9, 'tensor "a" has no data_offsets'],
    ['{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"b":1}}', 61, 'unknown key "b"'],
    [a("F31", "[1]", "[0,4]"), 22, 'dtype "F31", known are BOOL, U8'],
    ...["F4", "F6_E2M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "C64"].map(
      (dtype): [string, number, string] => [
        a(dtype, "[4]", "[0,4]"),
        22,
        `dtype "${dtype}", known`,
      ],
    ),
    [a("F32", "1", "[0,4]"), 36, 'shape of "a" is a number'],
    [a("F32", "[1.0]", "[0,4]"), 37, 'shape of "a" holds 1.0'],
    [a("F32", "[-1]", "[0,4]"), 37, "holds -1"],
    [a("F32", "[9007199254740992]", "[0,4]"), 37, "holds 9007199254740992"],
    [a("F32", '["1"]', "[0,4]"), 37, "holds a string"],
    [a("F32", "[4503599627370496,4]", "[0,4]"), 9, "more than 2^53"],
    [a("F32", "[1]", "[0,4,8]"), 9, "not [begin, end]"],
    [a("F32", "[1]", "[4,0]"), 9, "not [begin, end]"],
    [a("F32", "[2]", "[0,4]"), 9, "F32 [2] takes 8 bytes, but data_offsets hold 4"],
    [a("F32", "[]", "[4,8]"), 9, "leaves a hole after the header"],
    ['{"__metadata__":[]}', 24, "__metadata__ is an array"],
    ['{"__metadata__":{"a":1}}', 25, 'holds a number under "a"'],
    ['{"a":{"dtype":"U8","dtype":"U8"}}', 27, 'the key "dtype" stands twice'],
    ['{"__metadata__":{},"__metadata__":{}}', 27, "stands twice"],
    ["{} x", 11, "more follows"],
    ["{}\0", 10, "more follows"],
  ])("with the header %s is refused", async (header, offset, reason) => {
    const failure = await failureOf(fileOf(header, 8));
    expect(failure.message).toContain(reason);
    expect(failure.offset).toBe(offset);
  });

  it.each([
    ["overlap", "[2,6]", "[0,4]", 'tensor "a" overlaps tensor "b"'],
    ["leave a hole", "[6,10]", "[0,4]", 'tensor "a" leaves a hole after tensor "b"'],
  ])("whose tensors %s is refused", async (_, first, second, reason) => {
    const entry = (offsets: string): string =>
      `{"dtype":"F32","shape":[1],"data_offsets":${offsets}}`;
    const failure = await failureOf(fileOf(`{"a":${entry(first)},"b":${entry(second)}}`, 10));
    expect(failure.message).toContain(reason);
    expect(failure.offset).toBe(9);
  });
});
