import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type GgufTensor, ggufBytes, writeGguf } from "./gguf.ts";

let folder = "";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "moiety-gguf-"));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Reads a file as ggml's `docs/gguf.md` has it. */
function readGguf(bytes: Buffer): {
  readonly metadata: Record<string, unknown>;
  readonly tensors: {
    readonly name: string;
    readonly sizes: readonly number[];
    readonly type: number;
    readonly bytes: Uint8Array;
  }[];
} {
  let at = 0;
  const u32 = (): number => bytes.readUInt32LE((at += 4) - 4);
  const u64 = (): number => Number(bytes.readBigUInt64LE((at += 8) - 8));
  const text = (): string => {
    const length = u64();
    at += length;
    return bytes.toString("utf8", at - length, at);
  };
  const value = (type: number): unknown => {
    if (type === 4) return u32();
    if (type === 6) return bytes.readFloatLE((at += 4) - 4);
    if (type === 8) return text();
    const inside = u32();
    return Array.from({ length: u64() }, () => value(inside));
  };
  expect(text32(bytes)).toBe("GGUF");
  at = 4;
  expect(u32()).toBe(3);
  const [tensorCount, keys] = [u64(), u64()];
  const metadata: Record<string, unknown> = {};
  for (let key = 0; key < keys; key++) {
    const name = text();
    metadata[name] = value(u32());
  }
  const infos = Array.from({ length: tensorCount }, () => ({
    name: text(),
    sizes: Array.from({ length: u32() }, u64),
    type: u32(),
    offset: u64(),
  }));
  const data = Math.ceil(at / 32) * 32;
  return {
    metadata,
    tensors: infos.map(({ offset, ...info }, index) => {
      const next = infos[index + 1]?.offset ?? bytes.length - data;
      return { ...info, bytes: bytes.subarray(data + offset, data + next) };
    }),
  };
}

function text32(bytes: Buffer): string {
  return bytes.toString("latin1", 0, 4);
}

const tensor = (name: string, shape: readonly number[], ...pieces: number[][]): GgufTensor => ({
  name,
  shape,
  type: "F32",
  pieces: () => pieces.map((piece) => new Uint8Array(Float32Array.from(piece).buffer)),
});

describe("writeGguf", () => {
  it("writes what the format's description reads", () => {
    const file = join(folder, "model.gguf");
    const metadata = {
      "general.architecture": { text: "olmoe" },
      count: { u32: 7 },
      epsilon: { f32: 0.5 },
      words: { texts: ["a", "größer"] },
    };
    const tensors = [tensor("x", [3], [1, 2], [3]), tensor("y", [2, 4], [1, 2, 3, 4, 5, 6, 7, 8])];
    writeGguf(file, { metadata, tensors });
    const found = readGguf(readFileSync(file));
    expect(found.metadata).toEqual({
      "general.architecture": "olmoe",
      count: 7,
      epsilon: 0.5,
      words: ["a", "größer"],
    });
    expect(found.tensors.map(({ name, sizes, type }) => ({ name, sizes, type }))).toEqual([
      { name: "x", sizes: [3], type: 0 },
      { name: "y", sizes: [4, 2], type: 0 },
    ]);
    const [x, y] = found.tensors.map(({ bytes }) => [
      ...new Float32Array(Uint8Array.from(bytes).buffer),
    ]);
    expect(x?.slice(0, 3)).toEqual([1, 2, 3]);
    expect(y).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(readdirSync(folder)).toEqual(["model.gguf"]);
  });

  it("leaves nothing where a tensor is not as long as it says", () => {
    const file = join(folder, "model.gguf");
    expect(() => writeGguf(file, { metadata: {}, tensors: [tensor("x", [3], [1, 2])] })).toThrow(
      "x has 8 bytes instead of 12",
    );
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe("ggufBytes", () => {
  it.each([
    ["F32", 256],
    ["F16", 128],
    ["Q8_0", 68],
    ["Q4_0", 36],
  ] as const)("counts 64 values in %s", (type, bytes) => {
    expect(ggufBytes([2, 32], type)).toBe(bytes);
  });

  it("refuses rows that end within a block", () => {
    expect(() => ggufBytes([32, 2], "Q4_0")).toThrow("do not hold whole blocks of Q4_0");
  });
});
