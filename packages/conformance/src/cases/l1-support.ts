import type { AnyOp, HostArray } from "@moiety/core";
import {
  binary,
  broadcast,
  compare,
  fill,
  matmul,
  putAlong,
  reduce,
  takeAlong,
  topK,
  unary,
  where,
} from "@moiety/core";
import type { CaseContext, ConformanceCase, Level } from "../case.ts";
import { type HostTensor, generated } from "../host-tensor.ts";
import type { CaseRandom } from "../random.ts";

/** What softmax and logSumExp are made of where they have no kernel of their own. */
export const SOFTMAX_OPS: readonly AnyOp[] = [unary, binary, compare, where, reduce];
/** What routing is made of where it has no kernel of its own. */
export const ROUTE_OPS: readonly AnyOp[] = [
  ...SOFTMAX_OPS,
  topK,
  takeAlong,
  putAlong,
  fill,
  broadcast,
];
/** Routing from an input: the logits are computed. */
export const COMPUTED_OPS: readonly AnyOp[] = [...ROUTE_OPS, matmul];

/** What a case may say beside its demand. */
export type CaseExtras = Pick<ConformanceCase, "extension" | "heavy" | "unsupported">;

/** A case of the first must-pass list; its id begins with its level. */
export function levelCase(
  level: Level,
  id: string,
  demand: string,
  ops: readonly AnyOp[],
  run: (test: CaseContext) => Promise<void>,
  extras: CaseExtras = {},
): ConformanceCase {
  return { id: `${level}/${id}`, level, demand, ops, since: "2026-11-22", ...extras, run };
}

/** Numbers of experts off every tile. */
export const EXPERT_COUNTS: readonly number[] = [1, 2, 7, 8, 31, 32, 33, 64, 128, 129, 288];

/**
 * Logits `[tokens, experts]` whose order nobody can mistake: in each row all are distinct, at least
 * 2/64 apart and at most 10 in size, multiples of 2⁻⁶ and so exact in f32 and f16. Rows differ.
 */
export function distinctLogits(random: CaseRandom, tokens: number, experts: number): HostTensor {
  const spread = Math.max(1, Math.floor(128 / Math.max(1, experts)));
  const jitter = random.integers([tokens, experts], 0, 2);
  const logits = generated([tokens, experts], "f32", () => 0);
  for (let token = 0; token < tokens; token++) {
    const order = random.permutation(experts);
    for (let expert = 0; expert < experts; expert++) {
      const at = token * experts + expert;
      const step = (order.data[expert] ?? 0) - Math.floor(experts / 2);
      logits.data[at] = (spread * (4 * step + (jitter.data[at] ?? 0))) / 64;
    }
  }
  return logits;
}

/** The given rows (first axis) of a host tensor, in the given order. */
export function rowsOf(tensor: HostTensor, rows: readonly number[]): HostTensor {
  const width = tensor.data.length / Math.max(1, tensor.shape[0] ?? 1);
  const shape = [rows.length, ...tensor.shape.slice(1)];
  return generated(shape, tensor.dtype, (index) => {
    const row = rows[Math.floor(index / width)] ?? 0;
    return tensor.data[row * width + (index % width)] ?? 0;
  });
}

/** The columns (second axis of two) of a host tensor, in the given order. */
export function columnsOf(tensor: HostTensor, columns: readonly number[]): HostTensor {
  const [rows = 0, width = 0] = tensor.shape;
  return generated([rows, columns.length], tensor.dtype, (index) => {
    const row = Math.floor(index / columns.length);
    return tensor.data[row * width + (columns[index % columns.length] ?? 0)] ?? 0;
  });
}

/** A copy with other values at some places. */
export function edited(
  tensor: HostTensor,
  edits: readonly (readonly [place: number, value: number])[],
): HostTensor {
  const copy = generated(tensor.shape, tensor.dtype, (index) => tensor.data[index] ?? 0);
  for (const [place, value] of edits) copy.data[place] = value;
  return copy;
}

/** The whole numbers from 0 up to `count`, without it. */
export function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

/**
 * Fails the case where a token's indices `[T, k]` are not distinct experts below `experts`, followed
 * by `experts` (no expert) alone.
 */
export function expectDistinct(
  test: CaseContext,
  { data, shape }: Pick<HostTensor, "data" | "shape">,
  experts: number,
): void {
  const [tokens = 0, k = 0] = shape;
  for (let token = 0; token < tokens; token++) {
    const ids = [...data.subarray(token * k, (token + 1) * k)];
    const real = ids.filter((id) => id !== experts);
    const known = real.every((id) => Number.isInteger(id) && id >= 0 && id < experts);
    test.expect(known, `token ${token} chose [${ids}], of experts 0 … ${experts - 1}`);
    test.expect(new Set(real).size === real.length, `token ${token} chose [${ids}], one twice`);
    const last = ids.slice(real.length).every((id) => id === experts);
    test.expect(last, `token ${token} chose [${ids}], an expert after "no expert"`);
  }
}

/**
 * Fails the case where integers differ; says in which row, since a row is a token.
 */
export function sameIds(
  test: CaseContext,
  name: string,
  got: HostTensor,
  wanted: { readonly values: HostArray; readonly shape: readonly number[] },
): void {
  const width = Math.max(1, got.shape.at(-1) ?? 1);
  test.expect(
    got.shape.join() === wanted.shape.join(),
    `${name}: shape [${got.shape}] instead of [${wanted.shape}]`,
  );
  for (let start = 0; start < got.data.length; start += width) {
    const row = got.data.subarray(start, start + width);
    const right = wanted.values.subarray(start, start + width);
    test.expect(
      row.every((id, place) => id === right[place]),
      `${name} of row ${start / width}: ${excerpt(row, right)}`,
    );
  }
}

function excerpt(got: HostArray, wanted: HostArray): string {
  if (got.length <= 16) return `[${got}] instead of [${wanted}]`;
  const at = got.findIndex((value, place) => value !== wanted[place]);
  return `${got[at]} instead of ${wanted[at]} at place ${at}`;
}

/** A host tensor with another shape of equal size. */
export function reshaped({ data, dtype }: HostTensor, shape: readonly number[]): HostTensor {
  return { data, shape, dtype };
}

/** A host tensor as the wanted value of an exact comparison. */
export function exactly({ data, shape, dtype }: HostTensor): {
  readonly values: HostArray;
  readonly bounds: Float64Array;
  readonly shape: readonly number[];
  readonly dtype: HostTensor["dtype"];
} {
  return { values: data, bounds: new Float64Array(data.length), shape, dtype };
}
