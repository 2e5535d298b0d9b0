import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type GoldenCase, type Recorded, readCase } from "../case.ts";

/** The cases that lie beside the tests. */
export const testdata: string = fileURLToPath(new URL("../testdata/", import.meta.url));

/** Reads a case named `family/case`. */
export async function recordedCase(path: string): Promise<GoldenCase> {
  const [family = "", name = ""] = path.split("/");
  return readCase(join(testdata, family, name), family, name);
}

/** A case in which one number of one tensor is changed. */
export function withChange(
  golden: GoldenCase,
  name: string,
  change: (values: Float64Array, tensor: Recorded) => void,
): GoldenCase {
  const tensor = golden.tensors.get(name);
  if (tensor === undefined) throw new Error(`${golden.family} has no ${name}`);
  const data = tensor.data.slice();
  change(data, tensor);
  return { ...golden, tensors: new Map([...golden.tensors, [name, { ...tensor, data }]]) };
}

/**
 * Changes the largest number of a tensor by a part, and a whole number by one. What is
 * zero or rounding noise has no such part of its own; there it is one of the `largest` in the case.
 */
export function nudge(
  largest: number,
  share = 1e-6,
): (values: Float64Array, tensor: Recorded) => void {
  return (values, { isInteger }) => {
    const size = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const place = isInteger ? 0 : values.findIndex((value) => Math.abs(value) === size);
    const value = values[place] ?? Number.NaN;
    const part = share * (size > 1e-6 * largest ? value : largest);
    values[place] = isInteger ? value + 1 : value + part;
  };
}

/** Copies cases into a temporary folder, lets a test damage them, and removes them again. */
export async function withCopies<R>(
  paths: readonly string[],
  use: (folder: string) => Promise<R>,
): Promise<R> {
  const folder = await mkdtemp(join(tmpdir(), "moiety-cases-"));
  try {
    for (const path of paths)
      await cp(join(testdata, path), join(folder, path), { recursive: true });
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Rewrites a file. */
export async function rewrite(
  path: string,
  change: (bytes: Buffer) => Buffer | string,
): Promise<void> {
  await writeFile(path, change(await readFile(path)));
}

/** Rewrites a safetensors file without one of its tensors, or with one under another name. */
export async function renameTensor(path: string, name: string, other?: string): Promise<void> {
  await rewriteHeader(path, (key, info) => [
    key === name ? (other ?? `weights.removed.${name}`) : key,
    info,
  ]);
}

/** Rewrites a safetensors file with the dimensions of one of its tensors in reverse. */
export async function reverseShape(path: string, name: string): Promise<void> {
  await rewriteHeader(path, (key, info) => {
    const { shape } = info as { readonly shape: readonly number[] };
    return [key, key === name ? { ...(info as object), shape: shape.toReversed() } : info];
  });
}

async function rewriteHeader(
  path: string,
  change: (key: string, info: unknown) => [key: string, info: unknown],
): Promise<void> {
  await rewrite(path, (bytes) => {
    const length = Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.toString("utf8", 8, 8 + length)) as Record<string, unknown>;
    const changed = Object.entries(header).map(([key, info]) =>
      key === "__metadata__" ? [key, info] : change(key, info),
    );
    const text = JSON.stringify(Object.fromEntries(changed));
    const padded = text.padEnd(Math.ceil(Buffer.byteLength(text) / 8) * 8);
    const start = Buffer.alloc(8);
    start.writeBigUInt64LE(BigInt(Buffer.byteLength(padded)));
    return Buffer.concat([start, Buffer.from(padded), bytes.subarray(8 + length)]);
  });
}
