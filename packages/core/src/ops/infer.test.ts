import { create } from "@moiety/backend-cpu";
import { describe, expect, it } from "vitest";
import type { DType } from "../dtype.ts";
import { ConfigError, DTypeError, type MoietyError, ShapeError } from "../errors.ts";
import type { AnyOp } from "../op.ts";
import type { Shape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { allOps } from "../op-table.ts";
import * as ops from "./index.ts";

/** The ops of this folder; those of the layer are tested beside it. */
const tensorOps = allOps.filter(({ name }) => name in ops);

type ErrorClass = abstract new (...args: never[]) => MoietyError;

const backend = await create();
const t = (...shape: number[]): Tensor => ops.zeros(backend, shape);
const d = (...shape: number[]): Tensor => ops.zeros(backend, shape, "f64");
const i = (...shape: number[]): Tensor => ops.zeros(backend, shape, "i32");
const b = (...shape: number[]): Tensor => ops.zeros(backend, shape, "bool");
const u8 = (...shape: number[]): Tensor => ops.zeros(backend, shape, "u8");
const f16 = (...shape: number[]): Tensor => ops.zeros(backend, shape, "f16");

/** Values that types refuse, as untyped callers pass them. */
const untyped = <T>(value: unknown): T => value as T;

const key = [0, 1] as const;
const group = { shape: [2] as Shape, dtype: "f32" } as const;
const attention = { causal: false, scale: 1, position: 0 };
const adam = {
  learningRate: 1,
  beta1: 0.9,
  beta2: 0.9,
  epsilon: 1,
  weightDecay: 0,
  step: 1,
};

const bad: readonly (readonly [op: AnyOp, why: string, error: ErrorClass, call: () => unknown])[] =
  [
    [ops.fill, "negative size", ShapeError, () => ops.zeros(backend, [2, -1])],
    [ops.fill, "broken size", ShapeError, () => ops.zeros(backend, [1.5])],
    [ops.fill, "no shape", ShapeError, () => ops.zeros(backend, untyped<Shape>(3))],
    [ops.fill, "dtype", DTypeError, () => ops.zeros(backend, [1], untyped<DType>("f8"))],
    [ops.fill, "broken integer", ConfigError, () => ops.full(backend, [1], 0.5, "i32")],
    [ops.fill, "negative u32", ConfigError, () => ops.full(backend, [1], -1, "u32")],
    [ops.fill, "u8 range", ConfigError, () => ops.full(backend, [1], 256, "u8")],
    [ops.fill, "bool range", ConfigError, () => ops.full(backend, [1], 2, "bool")],
    [ops.fill, "no value", ConfigError, () => ops.full(backend, [1], untyped<number>(undefined))],
    [ops.fill, "no backend", ConfigError, () => ops.zeros(untyped<typeof backend>({}), [1])],
    [ops.iota, "axis", ConfigError, () => ops.iota(backend, { shape: [2], axis: 1, dtype: "i32" })],
    [ops.iota, "dtype", DTypeError, () => ops.arange(backend, 2, untyped<"i32">("bool"))],
    [ops.cast, "dtype", DTypeError, () => ops.cast(t(2), { dtype: untyped<DType>("int8") })],
    [ops.unary, "kind", ConfigError, () => ops.unary(t(2), { kind: untyped<"neg">("cube") })],
    [
      ops.unary,
      "inherited kind",
      ConfigError,
      () => ops.unary(t(2), { kind: untyped<"neg">("toString") }),
    ],
    [ops.unary, "exp of integers", DTypeError, () => ops.exp(i(2))],
    [ops.unary, "neg of bool", DTypeError, () => ops.neg(b(2))],
    [ops.unary, "not of numbers", DTypeError, () => ops.not(t(2))],
    [ops.unary, "storage dtype", DTypeError, () => ops.neg(f16(2))],
    [ops.unary, "isNaN of integers", DTypeError, () => ops.isNaN(i(2))],
    [
      ops.binary,
      "kind",
      ConfigError,
      () => ops.binary(t(2), t(2), { kind: untyped<"add">("hypot") }),
    ],
    [ops.binary, "mixed dtypes", DTypeError, () => ops.add(t(2), d(2))],
    [ops.binary, "shapes", ShapeError, () => ops.add(t(2), t(3))],
    [ops.binary, "pow of integers", DTypeError, () => ops.pow(i(2), 2)],
    [ops.binary, "rem of floats", DTypeError, () => ops.rem(t(2), 2)],
    [ops.binary, "and of numbers", DTypeError, () => ops.and(i(2), i(2))],
    [ops.binary, "broken scalar", ConfigError, () => ops.mul(i(2), 0.5)],
    [ops.binary, "no operand", ConfigError, () => ops.binary(t(2), undefined, { kind: "add" })],
    [ops.binary, "no tensor", ConfigError, () => ops.add(untyped<Tensor>(3), t(2))],
    [
      ops.compare,
      "kind",
      ConfigError,
      () => ops.compare(t(2), t(2), { kind: untyped<"eq">("==") }),
    ],
    [ops.compare, "order of bool", DTypeError, () => ops.less(b(2), b(2))],
    [ops.compare, "mixed dtypes", DTypeError, () => ops.equal(i(2), t(2))],
    [ops.compare, "shapes", ShapeError, () => ops.equal(t(2), t(3))],
    [ops.compare, "broken scalar", ConfigError, () => ops.equal(i(2), 0.5)],
    [ops.compare, "no operand", ConfigError, () => ops.compare(t(2), undefined, { kind: "eq" })],
    [ops.where, "condition", DTypeError, () => ops.select(t(2), t(2), 0)],
    [ops.where, "mixed dtypes", DTypeError, () => ops.select(b(2), t(2), d(2))],
    [ops.where, "shapes", ShapeError, () => ops.select(b(2), t(3), 0)],
    [ops.where, "no dtype", ConfigError, () => ops.select(b(2), 1, 0)],
    [ops.where, "no scalar", ConfigError, () => ops.where(b(2), t(2), undefined, {})],
    [ops.where, "storage dtype", DTypeError, () => ops.select(b(2), f16(2), f16(2))],
    [ops.where, "broken scalar", ConfigError, () => ops.select(b(2), i(2), 0.5)],
    [ops.broadcast, "shape", ShapeError, () => ops.broadcast(t(2), { shape: [3] })],
    [ops.broadcast, "narrower", ShapeError, () => ops.broadcast(t(2, 3), { shape: [1, 3] })],
    [ops.broadcast, "negative", ShapeError, () => ops.broadcast(t(1), { shape: [-2] })],
    [
      ops.reduce,
      "kind",
      ConfigError,
      () => ops.reduce(t(2), { kind: untyped<"sum">("product"), axes: [0] }),
    ],
    [ops.reduce, "axis", ShapeError, () => ops.reduce(t(2), { kind: "sum", axes: [1] })],
    [ops.reduce, "negative axis", ShapeError, () => ops.reduce(t(2), { kind: "sum", axes: [-1] })],
    [ops.reduce, "axis of sum", ShapeError, () => ops.sum(t(2), [-2])],
    [ops.reduce, "repeated axes", ConfigError, () => ops.sum(t(2, 2), [0, 0])],
    [
      ops.reduce,
      "descending axes",
      ConfigError,
      () => ops.reduce(t(2, 2), { kind: "sum", axes: [1, 0] }),
    ],
    [ops.reduce, "bool", DTypeError, () => ops.sum(b(2))],
    [ops.reduce, "max of nothing", ShapeError, () => ops.max(t(2, 0), [1])],
    [ops.reduce, "min of nothing at all", ShapeError, () => ops.min(t(0))],
    [ops.cumsum, "axis", ShapeError, () => ops.cumsum(t(2), { axis: -1 })],
    [ops.cumsum, "bool", DTypeError, () => ops.cumsum(b(2), { axis: 0 })],
    [ops.matmul, "inner sizes", ShapeError, () => ops.matmul(t(2, 3), t(2, 3))],
    [
      ops.matmul,
      "inner sizes transposed",
      ShapeError,
      () => ops.matmul(t(2, 3), t(3, 2), { transposeB: true }),
    ],
    [ops.matmul, "rank", ShapeError, () => ops.matmul(t(3), t(3, 2))],
    [ops.matmul, "batch", ShapeError, () => ops.matmul(t(2, 1, 3), t(3, 3, 1))],
    [ops.matmul, "integers", DTypeError, () => ops.matmul(i(2, 2), i(2, 2))],
    [ops.matmul, "mixed dtypes", DTypeError, () => ops.matmul(t(2, 2), d(2, 2))],
    [
      ops.transpose,
      "too few axes",
      ConfigError,
      () => ops.transpose(t(2, 2), { permutation: [0] }),
    ],
    [ops.transpose, "repeated", ConfigError, () => ops.transpose(t(2, 2), { permutation: [0, 0] })],
    [ops.slice, "beyond", ShapeError, () => ops.slice(t(3), { starts: [2], sizes: [2] })],
    [ops.slice, "negative start", ShapeError, () => ops.slice(t(3), { starts: [-1], sizes: [2] })],
    [ops.slice, "rank", ShapeError, () => ops.slice(t(3), { starts: [0, 0], sizes: [1, 1] })],
    [ops.slice, "broken size", ShapeError, () => ops.slice(t(3), { starts: [0], sizes: [0.5] })],
    [ops.writeSlice, "beyond", ShapeError, () => ops.writeSlice(t(3), t(2), { starts: [2] })],
    [ops.writeSlice, "rank", ShapeError, () => ops.writeSlice(t(3), t(1, 2), { starts: [0] })],
    [ops.writeSlice, "mixed dtypes", DTypeError, () => ops.writeSlice(t(3), d(2), { starts: [0] })],
    [ops.concat, "sizes", ShapeError, () => ops.concat(t(2, 2), t(2, 3), { axis: 0 })],
    [ops.concat, "rank", ShapeError, () => ops.concat(t(2, 2), t(2), { axis: 0 })],
    [ops.concat, "axis", ShapeError, () => ops.concat(t(2), t(2), { axis: 1 })],
    [ops.concat, "mixed dtypes", DTypeError, () => ops.concat(t(2), i(2), { axis: 0 })],
    [ops.concat, "nothing", ConfigError, () => ops.concat({ axis: 0 })],
    [ops.pad, "rank", ShapeError, () => ops.pad(t(2), { before: [1, 1], after: [0], value: 0 })],
    [ops.pad, "negative", ShapeError, () => ops.pad(t(2), { before: [-1], after: [0], value: 0 })],
    [ops.pad, "value", ConfigError, () => ops.pad(i(2), { before: [1], after: [0], value: 0.5 })],
    [ops.gatherRows, "ids", DTypeError, () => ops.gatherRows(t(2, 2), t(2))],
    [ops.gatherRows, "a scalar table", ShapeError, () => ops.gatherRows(t(), i(2))],
    [ops.takeAlong, "indices", DTypeError, () => ops.takeAlong(t(2), t(2), { axis: 0 })],
    [ops.takeAlong, "rank", ShapeError, () => ops.takeAlong(t(2, 2), i(2), { axis: 1 })],
    [ops.takeAlong, "sizes", ShapeError, () => ops.takeAlong(t(2, 2), i(3, 2), { axis: 1 })],
    [ops.takeAlong, "axis", ShapeError, () => ops.takeAlong(t(2), i(2), { axis: 1 })],
    [ops.putAlong, "updates", ShapeError, () => ops.putAlong(t(2), i(2), t(1), { axis: 0 })],
    [ops.putAlong, "sizes", ShapeError, () => ops.putAlong(t(2, 2), i(3, 1), t(3, 1), { axis: 1 })],
    [ops.putAlong, "mixed dtypes", DTypeError, () => ops.putAlong(t(2), i(2), d(2), { axis: 0 })],
    [ops.segmentSum, "ids", ShapeError, () => ops.segmentSum(t(3, 2), i(2), { segments: 1 })],
    [ops.segmentSum, "dtype", DTypeError, () => ops.segmentSum(i(2, 2), i(2), { segments: 1 })],
    [ops.segmentSum, "ids' dtype", DTypeError, () => ops.segmentSum(t(2), t(2), { segments: 1 })],
    [
      ops.segmentSum,
      "segments",
      ConfigError,
      () => ops.segmentSum(t(2, 2), i(2), { segments: -1 }),
    ],
    [ops.segmentSum, "a scalar", ShapeError, () => ops.segmentSum(t(), i(), { segments: 1 })],
    [ops.topK, "k", ConfigError, () => ops.topK(t(2, 3), undefined, { k: 4 })],
    [ops.topK, "broken k", ConfigError, () => ops.topK(t(2, 3), undefined, { k: 1.5 })],
    [ops.topK, "integers", DTypeError, () => ops.topK(i(2, 3), undefined, { k: 1 })],
    [ops.topK, "mask's shape", ShapeError, () => ops.topK(t(2, 3), b(3), { k: 1 })],
    [ops.topK, "mask's dtype", DTypeError, () => ops.topK(t(3), t(3), { k: 1 })],
    [ops.topK, "a scalar", ShapeError, () => ops.topK(t(), undefined, { k: 1 })],
    [ops.argsort, "bool", DTypeError, () => ops.argsort(b(3))],
    [ops.argsort, "mask's shape", ShapeError, () => ops.argsort(t(3), b(2))],
    [ops.argsort, "a scalar", ShapeError, () => ops.argsort(t())],
    [ops.groupRows, "rank", ShapeError, () => ops.groupRows(i(2, 2), { groups: 2 })],
    [ops.groupRows, "dtype", DTypeError, () => ops.groupRows(t(2), { groups: 2 })],
    [ops.groupRows, "groups", ConfigError, () => ops.groupRows(i(2), { groups: -1 })],
    [ops.groupedMatmul, "width", ShapeError, () => ops.groupedMatmul(t(4, 3), t(2, 5, 4), i(3))],
    [
      ops.groupedMatmul,
      "layout",
      ShapeError,
      () => ops.groupedMatmul(t(4, 3), t(2, 5, 3), i(3), undefined, { transposed: true }),
    ],
    [ops.groupedMatmul, "offsets", ShapeError, () => ops.groupedMatmul(t(4, 3), t(2, 5, 3), i(2))],
    [
      ops.groupedMatmul,
      "offsets' dtype",
      DTypeError,
      () => ops.groupedMatmul(t(4, 3), t(2, 5, 3), t(3)),
    ],
    [
      ops.groupedMatmul,
      "weights' rank",
      ShapeError,
      () => ops.groupedMatmul(t(4, 3), t(5, 3), i(2)),
    ],
    [ops.groupedMatmul, "x's rank", ShapeError, () => ops.groupedMatmul(t(3), t(2, 5, 3), i(3))],
    [
      ops.groupedMatmul,
      "row index",
      ShapeError,
      () => ops.groupedMatmul(t(4, 3), t(2, 5, 3), i(3), i(2, 2)),
    ],
    [
      ops.groupedMatmul,
      "row index's dtype",
      DTypeError,
      () => ops.groupedMatmul(t(4, 3), t(2, 5, 3), i(3), t(2)),
    ],
    [
      ops.groupedMatmul,
      "mixed dtypes",
      DTypeError,
      () => ops.groupedMatmul(t(4, 3), d(2, 5, 3), i(3)),
    ],
    [
      ops.groupedMatmulGradWeights,
      "rows",
      ShapeError,
      () => ops.groupedMatmulGradWeights(t(4, 3), t(5, 2), i(3)),
    ],
    [
      ops.groupedMatmulGradWeights,
      "rows of the index",
      ShapeError,
      () => ops.groupedMatmulGradWeights(t(4, 3), t(4, 2), i(3), i(5)),
    ],
    [
      ops.groupedMatmulGradWeights,
      "empty offsets",
      ShapeError,
      () => ops.groupedMatmulGradWeights(t(4, 3), t(4, 2), i(0)),
    ],
    [
      ops.groupedMatmulGradWeights,
      "offsets' dtype",
      DTypeError,
      () => ops.groupedMatmulGradWeights(t(4, 3), t(4, 2), t(2)),
    ],
    [
      ops.randomBits,
      "key",
      ConfigError,
      () => ops.randomBits(backend, { key: untyped<[number, number]>([1]), shape: [2] }),
    ],
    [
      ops.randomBits,
      "words",
      ConfigError,
      () => ops.randomBits(backend, { key: [0, -1], shape: [2] }),
    ],
    [ops.randomBits, "shape", ShapeError, () => ops.randomBits(backend, { key, shape: [-2] })],
    [
      ops.uniform,
      "dtype",
      DTypeError,
      () => ops.uniform(backend, { key, shape: [2], dtype: untyped<"f32">("i32") }),
    ],
    [ops.uniform, "key", ConfigError, () => ops.uniform(backend, { ...group, key: [0.5, 0] })],
    [
      ops.normal,
      "dtype",
      DTypeError,
      () => ops.normal(backend, { key, shape: [2], dtype: untyped<"f32">("bf16") }),
    ],
    [
      ops.normal,
      "key",
      ConfigError,
      () => ops.normal(backend, { ...group, key: untyped<[number, number]>(7) }),
    ],
    [
      ops.dequantize,
      "format",
      ConfigError,
      () =>
        ops.dequantize(u8(2, 3), t(2), {
          ...group,
          format: untyped<"q8_row">("q1"),
          shape: [2, 3],
        }),
    ],
    [
      ops.dequantize,
      "codes",
      DTypeError,
      () => ops.dequantize(i(2, 3), t(2), { ...group, format: "q8_row", shape: [2, 3] }),
    ],
    [
      ops.dequantize,
      "scales' dtype",
      DTypeError,
      () => ops.dequantize(u8(2, 3), i(2), { ...group, format: "q8_row", shape: [2, 3] }),
    ],
    [
      ops.dequantize,
      "shape",
      ShapeError,
      () => ops.dequantize(u8(2, 3), t(2), { ...group, format: "q8_row", shape: [3, 2] }),
    ],
    [
      ops.dequantize,
      "scales",
      ShapeError,
      () => ops.dequantize(u8(2, 3), t(3), { ...group, format: "q8_row", shape: [2, 3] }),
    ],
    [
      ops.dequantize,
      "a row that ends within a block",
      ShapeError,
      () => ops.dequantize(u8(2, 24), t(2, 1), { ...group, format: "q4_block32", shape: [2, 48] }),
    ],
    [
      ops.dequantize,
      "half as many codes as there are bytes of them",
      ShapeError,
      () => ops.dequantize(u8(2, 64), t(2, 2), { ...group, format: "q4_block32", shape: [2, 64] }),
    ],
    [
      ops.dequantize,
      "one scale for a row of blocks",
      ShapeError,
      () => ops.dequantize(u8(2, 64), t(2), { ...group, format: "q8_block32", shape: [2, 64] }),
    ],
    [
      ops.dequantize,
      "floats as exponents",
      DTypeError,
      () => ops.dequantize(u8(2, 16), t(2, 1), { ...group, format: "mxfp4", shape: [2, 32] }),
    ],
    [
      ops.dequantize,
      "exponents as floats",
      DTypeError,
      () => ops.dequantize(u8(2, 32), u8(2, 1), { ...group, format: "q8_block32", shape: [2, 32] }),
    ],
    [ops.softmax, "integers", DTypeError, () => ops.softmax(i(2))],
    [ops.softmax, "a scalar", ShapeError, () => ops.softmax(t())],
    [ops.softmax, "mask", ShapeError, () => ops.softmax(t(2, 3), b(2))],
    [ops.softmax, "wider mask", ShapeError, () => ops.softmax(t(3), b(2, 3))],
    [ops.softmax, "mask's dtype", DTypeError, () => ops.softmax(t(3), t(3))],
    [ops.logSumExp, "nothing", ShapeError, () => ops.logSumExp(t(2, 0))],
    [ops.logSumExp, "integers", DTypeError, () => ops.logSumExp(i(2))],
    [ops.logSumExp, "a scalar", ShapeError, () => ops.logSumExp(t())],
    [ops.rmsNorm, "weight", ShapeError, () => ops.rmsNorm(t(2, 3), t(2), { epsilon: 1 })],
    [ops.rmsNorm, "mixed dtypes", DTypeError, () => ops.rmsNorm(t(2, 3), d(3), { epsilon: 1 })],
    [ops.rmsNorm, "epsilon", ConfigError, () => ops.rmsNorm(t(2), t(2), { epsilon: Number.NaN })],
    [ops.rmsNorm, "a scalar", ShapeError, () => ops.rmsNorm(t(), t(), { epsilon: 1 })],
    [
      ops.rmsNormBackward,
      "rstd",
      ShapeError,
      () => ops.rmsNormBackward(t(2, 3), t(3), t(2), t(2, 3), { epsilon: 1 }),
    ],
    [
      ops.rmsNormBackward,
      "gradient",
      ShapeError,
      () => ops.rmsNormBackward(t(2, 3), t(3), t(2, 1), t(3), { epsilon: 1 }),
    ],
    [ops.rope, "tokens", ShapeError, () => ops.rope(t(3, 2, 4), t(2, 2), t(2, 2), {})],
    [ops.rope, "width", ShapeError, () => ops.rope(t(3, 2, 4), t(3, 3), t(3, 3), {})],
    [ops.rope, "tables", ShapeError, () => ops.rope(t(3, 2, 4), t(3, 2), t(3, 1), {})],
    [ops.rope, "batch", ShapeError, () => ops.rope(t(2, 3, 1, 4), t(3, 3, 2), t(3, 3, 2), {})],
    [ops.rope, "rank", ShapeError, () => ops.rope(t(3, 4), t(3, 2), t(3, 2), {})],
    [ops.rope, "mixed dtypes", DTypeError, () => ops.rope(t(3, 2, 4), d(3, 2), d(3, 2), {})],
    [ops.rope, "odd width", ConfigError, () => ops.rotaryFrequencies(3, 10)],
    [
      ops.attention,
      "rank",
      ShapeError,
      () => ops.attention(t(2, 2, 2), t(2, 2, 2), t(2, 2, 2), undefined, undefined, attention),
    ],
    [
      ops.attention,
      "heads",
      ShapeError,
      () =>
        ops.attention(t(1, 2, 3, 4), t(1, 2, 2, 4), t(1, 2, 2, 4), undefined, undefined, attention),
    ],
    [
      ops.attention,
      "width",
      ShapeError,
      () =>
        ops.attention(t(1, 2, 2, 4), t(1, 2, 2, 3), t(1, 2, 2, 4), undefined, undefined, attention),
    ],
    [
      ops.attention,
      "values",
      ShapeError,
      () =>
        ops.attention(t(1, 2, 2, 4), t(1, 2, 2, 4), t(1, 3, 2, 4), undefined, undefined, attention),
    ],
    [
      ops.attention,
      "mask",
      ShapeError,
      () => ops.attention(t(1, 2, 2, 4), t(1, 2, 2, 4), t(1, 2, 2, 4), b(2), undefined, attention),
    ],
    [
      ops.attention,
      "mask's dtype",
      DTypeError,
      () =>
        ops.attention(t(1, 2, 2, 4), t(1, 2, 2, 4), t(1, 2, 2, 4), t(1, 2), undefined, attention),
    ],
    [
      ops.attention,
      "position",
      ShapeError,
      () =>
        ops.attention(t(1, 2, 2, 4), t(1, 2, 2, 4), t(1, 2, 2, 4), undefined, undefined, {
          ...attention,
          causal: true,
          position: 1,
        }),
    ],
    [
      ops.attention,
      "negative position",
      ConfigError,
      () =>
        ops.attention(t(1, 2, 2, 4), t(1, 2, 2, 4), t(1, 2, 2, 4), undefined, undefined, {
          ...attention,
          position: -1,
        }),
    ],
    [
      ops.attention,
      "scale",
      ConfigError,
      () =>
        ops.attention(t(1, 2, 2, 4), t(1, 2, 2, 4), t(1, 2, 2, 4), undefined, undefined, {
          ...attention,
          scale: Number.POSITIVE_INFINITY,
        }),
    ],
    ...([0, 1.5, -1, Number.POSITIVE_INFINITY] as const).map(
      (window) =>
        [
          ops.attention,
          `window ${window}`,
          ConfigError,
          () => {
            const x = t(1, 2, 2, 4);
            const attributes = { ...attention, causal: true, window };
            return ops.attention(x, x, x, undefined, undefined, attributes);
          },
        ] as const,
    ),
    [
      ops.attention,
      "window without causality",
      ShapeError,
      () => {
        const x = t(1, 2, 2, 4);
        return ops.attention(x, x, x, undefined, undefined, { ...attention, window: 2 });
      },
    ],
    ...(
      [
        ["as many sinks as key heads", ShapeError, t(1)],
        ["sinks' rank", ShapeError, t(1, 2)],
        ["sinks' dtype", DTypeError, d(2)],
        ["integer sinks", DTypeError, i(2)],
      ] as const
    ).flatMap(([why, error, sinks]) => {
      const [q, k] = [t(1, 2, 2, 4), t(1, 2, 1, 4)];
      return [
        [
          ops.attention,
          why,
          error,
          () => ops.attention(q, k, k, undefined, sinks, attention),
        ] as const,
        [
          ops.attentionBackward,
          why,
          error,
          () => ops.attentionBackward(q, k, k, q, t(1, 2, 2), q, undefined, sinks, attention),
        ] as const,
      ];
    }),
    [
      ops.attentionBackward,
      "output",
      ShapeError,
      () => {
        const x = t(1, 2, 2, 4);
        return ops.attentionBackward(
          x,
          x,
          x,
          t(1, 2, 2, 3),
          t(1, 2, 2),
          x,
          undefined,
          undefined,
          attention,
        );
      },
    ],
    [
      ops.attentionBackward,
      "residual",
      ShapeError,
      () => {
        const x = t(1, 3, 2, 4);
        return ops.attentionBackward(x, x, x, x, t(1, 3, 2), x, undefined, undefined, attention);
      },
    ],
    [
      ops.attentionBackward,
      "mixed dtypes",
      DTypeError,
      () => {
        const x = t(1, 2, 2, 4);
        return ops.attentionBackward(
          x,
          x,
          x,
          x,
          t(1, 2, 2),
          d(1, 2, 2, 4),
          undefined,
          undefined,
          attention,
        );
      },
    ],
    [ops.linear, "inner sizes", ShapeError, () => ops.linear(t(2, 3), t(5, 4), undefined, {})],
    [ops.linear, "mixed dtypes", DTypeError, () => ops.linear(t(2, 3), d(5, 3), undefined, {})],
    [
      ops.linear,
      "codes without a format",
      ConfigError,
      () => ops.linear(t(2, 32), u8(5, 32), t(5, 1), {}),
    ],
    [ops.roundBlocks, "part of a block", ShapeError, () => ops.roundBlocks(t(2, 33))],
    [ops.roundBlocks, "integers", DTypeError, () => ops.roundBlocks(i(32))],
    [ops.crossEntropy, "targets", ShapeError, () => ops.crossEntropy(t(2, 3), i(3))],
    [ops.crossEntropy, "targets' dtype", DTypeError, () => ops.crossEntropy(t(2, 3), t(2))],
    [ops.crossEntropy, "rank", ShapeError, () => ops.crossEntropy(t(1, 2, 3), i(1))],
    [ops.crossEntropy, "no classes", ShapeError, () => ops.crossEntropy(t(2, 0), i(2))],
    [
      ops.crossEntropyBackward,
      "residual",
      ShapeError,
      () => ops.crossEntropyBackward(t(2, 3), i(2), t(3), t(2)),
    ],
    [
      ops.crossEntropyBackward,
      "gradient",
      ShapeError,
      () => ops.crossEntropyBackward(t(2, 3), i(2), t(2), t(2, 3)),
    ],
    [ops.adamW, "shapes", ShapeError, () => ops.adamW(t(2), t(3), t(2), t(2), adam)],
    [ops.adamW, "mixed dtypes", DTypeError, () => ops.adamW(t(2), d(2), t(2), t(2), adam)],
    [ops.adamW, "step", ConfigError, () => ops.adamW(t(2), t(2), t(2), t(2), { ...adam, step: 0 })],
    [
      ops.adamW,
      "rate",
      ConfigError,
      () => ops.adamW(t(2), t(2), t(2), t(2), { ...adam, learningRate: Number.NaN }),
    ],
    [ops.concat, "stack of nothing", ConfigError, () => ops.stack([])],
    [ops.concat, "stack of unlike shapes", ShapeError, () => ops.stack([t(2), t(3)])],
    [ops.slice, "split that does not fit", ShapeError, () => ops.split(t(5), [2, 2])],
    [ops.slice, "split into unequal parts", ShapeError, () => ops.split(t(5), 2)],
    [ops.transpose, "moved axis", ShapeError, () => ops.moveAxis(t(2, 2), 2, 0)],
  ];

describe("bad input", () => {
  it.each(bad.map(([op, why, error, call]) => ({ name: `${op.name}: ${why}`, op, error, call })))(
    "$name",
    ({ error, call }) => {
      expect(call).toThrow(error);
      expect(call).toThrow(/./);
    },
  );

  it("is tried on every op", () => {
    const tried = new Set(bad.map(([op]) => op));
    expect(tensorOps.filter((op) => !tried.has(op)).map(({ name }) => name)).toEqual([]);
  });

  it("is named with the op and its shapes", () => {
    try {
      ops.matmul(t(2, 3), t(4, 5));
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(ShapeError);
      expect(error).toMatchObject({
        op: "matmul",
        code: "SHAPE",
        shapes: [
          [2, 3],
          [4, 5],
        ],
        message: "matmul: inner sizes 3 and 4 differ; got f32[2, 3], f32[4, 5]",
      });
    }
  });

  it("leaves nothing behind", () => {
    const before = backend.statistics().liveTensors;
    backend.scope(() => {
      const x = t(2, 3);
      expect(() => ops.matmul(x, x)).toThrow(ShapeError);
    });
    expect(backend.statistics().liveTensors).toBe(before);
  });
});
