import { FormatError } from "@moiety/core";
import { toHost } from "../host/decode.ts";
import { safetensorsBytes } from "../safetensors/dtype.ts";
import type { TensorInfo, TensorReader } from "../safetensors/info.ts";
import type { ElementReader } from "./stored.ts";

/**
 * Reads values times the factor of their block. The factors, one for thousands of values, are read at
 * once and kept.
 *
 * Throws `FormatError` for a factor that is not finite.
 */
export async function scaledReader(
  reader: TensorReader,
  values: TensorInfo,
  factors: TensorInfo,
  blockSize: readonly [rows: number, columns: number],
  readValues: ElementReader,
): Promise<ElementReader> {
  const { data } = toHost(await reader.read(factors.name), "f64");
  const bad = data.findIndex((factor) => !Number.isFinite(factor));
  if (bad >= 0) {
    throw new FormatError(
      `tensor "${factors.name}": factor ${bad} is ${data[bad]}; the file is damaged, get it again`,
      factors.offset + bad * safetensorsBytes(factors.dtype),
    );
  }
  const [blockRows, blockColumns] = blockSize;
  const [height = 1, width = 1] = values.shape.slice(-2);
  const across = Math.ceil(width / blockColumns);
  const down = Math.ceil(height / blockRows);
  const factorAt = (row: number, column: number): number => {
    const line = Math.floor(row / height) * down + Math.floor((row % height) / blockRows);
    return data[line * across + Math.floor(column / blockColumns)] ?? 0;
  };
  return async (from, count, target, at) => {
    await readValues(from, count, target, at);
    for (let index = 0; index < count;) {
      const row = Math.floor((from + index) / width);
      const column = (from + index) % width;
      const blockEnd = Math.min(width, (Math.floor(column / blockColumns) + 1) * blockColumns);
      const stop = Math.min(count, index + blockEnd - column);
      const factor = factorAt(row, column);
      for (; index < stop; index++) target[at + index] = (target[at + index] ?? 0) * factor;
    }
  };
}
