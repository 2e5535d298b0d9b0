import { type Op, defineOp } from "../op.ts";
import { sizeOf } from "../shape.ts";
import { type Tensor, donate } from "../tensor.ts";
import {
  type Specs,
  DTYPES,
  FLOATS,
  requireAxis,
  requireDType,
  requireOneDType,
  requireRank,
  requireShape,
  requireWhole,
  shapeError,
} from "./checks.ts";
import { compare } from "./compare.ts";
import { iota, zerosLike } from "./creation.ts";
import { reduce, where } from "./elementwise.ts";
import { groupRows } from "./grouping.ts";

/**
 * Rows of a table by id: `table [N, …]` (any dtype), `ids […]` i32 → `[ids…, …]`. An id outside
 * 0…N−1 gives a row of zeros.
 */
export const gatherRows: Op<[table: Tensor, ids: Tensor]> = /*#__PURE__*/ defineOp({
  name: "gatherRows",
  inputs: ["table", "ids"],
  kernel: "inference",
  infer([table, ids]) {
    requireRank("gatherRows", "table", table, 1);
    requireDType("gatherRows", "ids", ids.dtype, ["i32"]);
    return { shape: [...ids.shape, ...table.shape.slice(1)], dtype: table.dtype };
  },
  gradient({ inputs: [table, ids], gradients: [gradient] }) {
    if (!gradient) return [];
    const rows = gradient.reshape([ids.size, ...table.shape.slice(1)]);
    return [scatterRows(rows, ids.reshape([ids.size]), table.shape[0] ?? 0)];
  },
});

/**
 * Adds rows up by sorted id: `rows [A, …]` float, `ids [A]` i32 ascending → `[segments, …]`. Rows of
 * one id are added in their order; an id outside 0…segments−1 is skipped; a segment without rows is
 * zero.
 */
export const segmentSum: Op<[rows: Tensor, ids: Tensor], { readonly segments: number }> =
  /*#__PURE__*/ defineOp({
    name: "segmentSum",
    inputs: ["rows", "ids"],
    kernel: "training",
    infer([rows, ids], { segments }) {
      const inputs = [rows, ids];
      requireDType("segmentSum", "rows", rows.dtype, FLOATS);
      requireDType("segmentSum", "ids", ids.dtype, ["i32"]);
      requireRank("segmentSum", "rows", rows, 1);
      requireShape("segmentSum", "ids", ids, rows.shape.slice(0, 1), inputs);
      requireWhole("segmentSum", "segments", segments, 0);
      return { shape: [segments, ...rows.shape.slice(1)], dtype: rows.dtype };
    },
    gradient({ inputs: [, ids], gradients: [gradient] }) {
      return [gradient && gatherRows(gradient, ids)];
    },
  });

/** Adds rows `[A, …]` up by unsorted id `[A]`, in row order: the gradient of `gatherRows`. */
export function scatterRows(rows: Tensor, ids: Tensor, count: number): Tensor {
  const [order, , , group] = groupRows(ids, { groups: count });
  return segmentSum(gatherRows(rows, order), group, { segments: count });
}

/** Attributes of {@link takeAlong}. */
export interface TakeAlongAttributes {
  /** From 0. */
  readonly axis: number;
  /**
   * A promise that no index occurs twice along the axis (those outside may). It changes no value,
   * but without it the gradient compares every index with every place of the axis.
   */
  readonly unique?: boolean | undefined;
}

/**
 * Elements of `x` (any dtype) at `indices` (i32) along `axis`; ranks and other sizes are equal. The
 * result has the shape of `indices`. An index outside the axis gives 0.
 */
export const takeAlong: Op<[x: Tensor, indices: Tensor], TakeAlongAttributes> =
  /*#__PURE__*/ defineOp({
    name: "takeAlong",
    inputs: ["x", "indices"],
    kernel: "inference",
    dynamic: ["unique"],
    infer([x, indices], { axis }) {
      requireAlong("takeAlong", axis, [x, indices]);
      return { shape: indices.shape, dtype: x.dtype };
    },
    gradient({ inputs: [x, indices], gradients: [gradient], attributes: { axis, unique } }) {
      if (!gradient) return [];
      if (unique) return [putAlong(donate(zerosLike(x)), indices, gradient, { axis })];
      return [addAlong(gradient, indices, axis, x.shape[axis] ?? 0)];
    },
  });

/**
 * `x` (any dtype) with `updates` put at `indices` (i32) along `axis`: ranks and other sizes are
 * equal, `updates` has the shape of `indices`. Indices occur once along the axis; those outside it
 * are skipped. Donate `x` to have it written in place.
 */
export const putAlong: Op<
  [x: Tensor, indices: Tensor, updates: Tensor],
  { readonly axis: number }
> = /*#__PURE__*/ defineOp({
  name: "putAlong",
  inputs: ["x", "indices", "updates"],
  kernel: "inference",
  infer([x, indices, updates], { axis }) {
    const inputs = [x, indices, updates];
    requireOneDType("putAlong", [x, updates], DTYPES);
    requireAlong("putAlong", axis, inputs);
    requireShape("putAlong", "updates", updates, indices.shape, inputs);
    return x;
  },
  gradient({ inputs: [, indices, updates], gradients: [gradient], attributes: { axis }, needs }) {
    if (!gradient) return [];
    return [
      needs[0] ? putAlong(gradient, indices, zerosLike(updates), { axis }) : undefined,
      undefined,
      needs[2] ? takeAlong(gradient, indices, { axis, unique: true }) : undefined,
    ];
  },
});

/** `[…, count]`: 1 at each id (i32 `[…]`), 0 elsewhere; all 0 for an id outside 0…count−1. */
export function oneHot(ids: Tensor, count: number, dtype: "f32" | "f64" | "i32" = "f32"): Tensor {
  const places = iota(ids.backend, { shape: [count], axis: 0, dtype: "i32" });
  const hits = compare(ids.reshape([...ids.shape, 1]), places, { kind: "eq" });
  return where(hits, undefined, undefined, { a: 1, b: 0, dtype });
}

/**
 * Adds values up at indices along an axis of `size` places, in the order of the indices; those
 * outside add nothing.
 */
function addAlong(values: Tensor, indices: Tensor, axis: number, size: number): Tensor {
  const { shape } = indices;
  const [outer, inner] = [sizeOf(shape.slice(0, axis)), sizeOf(shape.slice(axis + 1))];
  const spread = [outer, shape[axis] ?? 0, 1, inner];
  const places = iota(indices.backend, { shape: [size, 1], axis: 0, dtype: "i32" });
  const hits = compare(indices.reshape(spread), places, { kind: "eq" });
  const terms = where(hits, values.reshape(spread), undefined, { b: 0 });
  return reduce(terms, { kind: "sum", axes: [1] }).reshape(shape.with(axis, size));
}

function requireAlong(op: string, axis: number, inputs: Specs): void {
  const [x, indices] = inputs;
  if (!x || !indices) return;
  requireDType(op, "indices", indices.dtype, ["i32"]);
  requireAxis(op, axis, x);
  const fits =
    x.shape.length === indices.shape.length &&
    x.shape.every((size, other) => other === axis || size === indices.shape[other]);
  if (!fits) throw shapeError(op, `ranks and sizes beside axis ${axis} must be equal`, inputs);
}
