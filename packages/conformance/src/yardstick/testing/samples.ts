import {
  type AttributeValue,
  type Attributes,
  type DType,
  type QuantizedFormat,
  quantizedFormats,
  sizeOf,
} from "@moiety/core";
import type { Draw, Values } from "./draw.ts";

/** One call of an op: its inputs (absent ones `undefined`) and attributes. */
export interface Sample {
  readonly inputs: readonly (Values | undefined)[];
  readonly attributes: Attributes;
}

type Sampler = (draw: Draw) => Sample;

const NUMBERS: readonly DType[] = ["f32", "i32", "u32"];
const DTYPES: readonly DType[] = ["f32", "i32", "u32", "bool", "f16", "bf16", "u8"];

/** A shape that broadcasts to the given one. */
function repeatable(draw: Draw, shape: readonly number[]): number[] {
  const thinned = shape.map((size) => (draw.whole(0, 3) === 0 ? 1 : size));
  return draw.chance() ? thinned : thinned.slice(draw.whole(0, shape.length));
}

function windowed(draw: Draw): {
  readonly groups: number;
  readonly rows: number;
  readonly offsets: Values;
} {
  const groups = draw.whole(1, 4);
  const rows = draw.whole(0, 9);
  const cuts = Array.from({ length: groups + 1 }, () => draw.whole(0, rows)).sort((a, b) => a - b);
  return { groups, rows, offsets: { data: cuts, shape: [groups + 1], dtype: "i32" } };
}

function along(draw: Draw, x: readonly number[], unique: boolean): [axis: number, indices: Values] {
  const axis = draw.whole(0, x.length - 1);
  const size = x[axis] ?? 0;
  const count = unique ? draw.whole(0, size) : draw.whole(0, 6);
  const shape = x.with(axis, count);
  if (!unique) return [axis, draw.integers(shape, -1, size)];
  const lanes = sizeOf(shape) / Math.max(count, 1);
  const inner = sizeOf(shape.slice(axis + 1));
  const chosen = draw.distinct(lanes, count, size);
  const data = Array.from({ length: sizeOf(shape) }, (_, at) => {
    const outer = Math.floor(at / (count * inner));
    const place = Math.floor(at / inner) % count;
    return chosen[(outer * inner + (at % inner)) * count + place] ?? 0;
  });
  return [axis, { data, shape, dtype: "i32" }];
}

/** Random calls of every op that needs a kernel, by name. */
export const SAMPLES: Readonly<Record<string, Sampler>> = {
  fill(draw) {
    const dtype = draw.pick(DTYPES);
    const value = dtype === "bool" || dtype === "u8" ? draw.whole(0, 1) : draw.whole(0, 70_000);
    const fraction = dtype === "f32" || dtype === "f16" || dtype === "bf16" ? 0.3 : 0;
    return { inputs: [], attributes: { shape: draw.shape(0, 4), value: value + fraction, dtype } };
  },
  iota(draw) {
    const shape = draw.shape(1, 4);
    const axis = draw.whole(0, shape.length - 1);
    return { inputs: [], attributes: { shape, axis, dtype: draw.pick(NUMBERS) } };
  },
  cast(draw) {
    const from = draw.pick(DTYPES);
    return {
      inputs: [draw.values(draw.shape(0, 3), from)],
      attributes: { dtype: draw.pick(DTYPES) },
    };
  },
  unary(draw) {
    const real =
      "exp log log1p sqrt rsqrt reciprocal tanh erf sigmoid softplus sin cos floor ceil round";
    const kind = draw.pick(["neg", "abs", "sign", "isNaN", "not", ...real.split(" ")]);
    const shape = draw.shape(0, 4);
    if (kind === "not") return { inputs: [draw.values(shape, "bool")], attributes: { kind } };
    if (["neg", "abs", "sign"].includes(kind)) {
      return { inputs: [draw.values(shape, draw.pick(NUMBERS))], attributes: { kind } };
    }
    const positive = ["log", "log1p", "sqrt", "rsqrt", "reciprocal"].includes(kind);
    return {
      inputs: [positive ? draw.positive(shape) : draw.floats(shape, draw.pick([1, 10]))],
      attributes: { kind },
    };
  },
  binary(draw) {
    const kind = draw.pick("add sub mul div max min pow rem and or".split(" "));
    const shape = draw.shape(0, 4);
    const other = repeatable(draw, shape);
    const dtypes = { pow: ["f32"], rem: ["i32", "u32"], and: ["bool"], or: ["bool"] };
    const dtype = draw.pick(dtypes[kind as "pow"] ?? NUMBERS) as DType;
    const make = (of: readonly number[]): Values => {
      if (kind === "pow") return draw.positive(of);
      return dtype === "f32" ? draw.floats(of) : draw.values(of, dtype);
    };
    if (draw.chance() && dtype !== "bool") {
      const scalar = dtype === "f32" ? 0.7 : draw.whole(0, 5);
      return { inputs: [make(shape), undefined], attributes: { kind, scalar } };
    }
    const inputs = draw.chance() ? [make(shape), make(other)] : [make(other), make(shape)];
    return { inputs, attributes: { kind } };
  },
  compare(draw) {
    const kind = draw.pick(["eq", "ne", "lt", "le", "gt", "ge"]);
    const dtype = draw.pick(NUMBERS);
    const shape = draw.shape(0, 4);
    const make = (of: readonly number[]): Values => ({ ...draw.integers(of, 0, 2), dtype });
    const right = draw.chance() ? make(repeatable(draw, shape)) : undefined;
    return { inputs: [make(shape), right], attributes: right ? { kind } : { kind, scalar: 1 } };
  },
  where(draw) {
    const shape = draw.shape(0, 4);
    const dtype = draw.pick(["f32", "i32", "u32", "bool"] as const);
    const side = (): Values | undefined =>
      draw.chance() ? draw.values(repeatable(draw, shape), dtype) : undefined;
    const condition = draw.values(draw.chance() ? shape : repeatable(draw, shape), "bool");
    return { inputs: [condition, side(), side()], attributes: { a: 1, b: 0, dtype } };
  },
  broadcast(draw) {
    const shape = draw.shape(0, 4);
    return {
      inputs: [draw.values(repeatable(draw, shape), draw.pick(DTYPES))],
      attributes: { shape },
    };
  },
  reduce(draw) {
    const kind = draw.pick(["sum", "max", "min"]);
    const shape = draw.shape(0, 4).map((size) => (kind === "sum" ? size : Math.max(size, 1)));
    const axes = shape.flatMap((_, axis) => (draw.chance() ? [axis] : []));
    return {
      inputs: [draw.values(shape, draw.pick(NUMBERS))],
      attributes: { kind, axes, keepDims: draw.chance() },
    };
  },
  cumsum(draw) {
    const shape = draw.shape(1, 4);
    const axis = draw.whole(0, shape.length - 1);
    return {
      inputs: [draw.values(shape, draw.pick(NUMBERS))],
      attributes: { axis, exclusive: draw.chance(), reverse: draw.chance() },
    };
  },
  matmul(draw) {
    const [rows, inner, columns] = [draw.whole(0, 5), draw.whole(0, 5), draw.whole(0, 5)];
    const batch = draw.shape(0, 2);
    const other = repeatable(draw, batch);
    const [transposeA, transposeB] = [draw.chance(), draw.chance()];
    const a = [...batch, ...(transposeA ? [inner, rows] : [rows, inner])];
    const b = [...other, ...(transposeB ? [columns, inner] : [inner, columns])];
    return { inputs: [draw.floats(a), draw.floats(b)], attributes: { transposeA, transposeB } };
  },
  transpose(draw) {
    const shape = draw.shape(0, 5);
    const permutation = draw.distinct(1, shape.length, shape.length);
    return { inputs: [draw.values(shape, draw.pick(DTYPES))], attributes: { permutation } };
  },
  slice(draw) {
    const shape = draw.shape(0, 4);
    const starts = shape.map((size) => draw.whole(0, size));
    const sizes = shape.map((size, axis) => draw.whole(0, size - (starts[axis] ?? 0)));
    return { inputs: [draw.values(shape, draw.pick(DTYPES))], attributes: { starts, sizes } };
  },
  writeSlice(draw) {
    const shape = draw.shape(0, 4);
    const starts = shape.map((size) => draw.whole(0, size));
    const sizes = shape.map((size, axis) => draw.whole(0, size - (starts[axis] ?? 0)));
    const dtype = draw.pick(DTYPES);
    return {
      inputs: [draw.values(shape, dtype), draw.values(sizes, dtype)],
      attributes: { starts },
    };
  },
  concat(draw) {
    const shape = draw.shape(1, 4);
    const axis = draw.whole(0, shape.length - 1);
    const dtype = draw.pick(DTYPES);
    const inputs = Array.from({ length: draw.whole(1, 6) }, () =>
      draw.values(shape.with(axis, draw.whole(0, 3)), dtype),
    );
    return { inputs, attributes: { axis } };
  },
  pad(draw) {
    const shape = draw.shape(0, 4);
    const sides = (): number[] => shape.map(() => draw.whole(0, 2));
    return {
      inputs: [draw.values(shape, draw.pick(DTYPES))],
      attributes: { before: sides(), after: sides(), value: 1 },
    };
  },
  gatherRows(draw) {
    const table = draw.shape(1, 3);
    const ids = draw.integers(draw.shape(0, 3), -2, (table[0] ?? 0) + 1);
    return { inputs: [draw.values(table, draw.pick(DTYPES)), ids], attributes: {} };
  },
  takeAlong(draw) {
    const shape = draw.shape(1, 4);
    const [axis, indices] = along(draw, shape, false);
    return { inputs: [draw.values(shape, draw.pick(DTYPES)), indices], attributes: { axis } };
  },
  putAlong(draw) {
    const shape = draw.shape(1, 4);
    const [axis, indices] = along(draw, shape, true);
    const dtype = draw.pick(DTYPES);
    return {
      inputs: [draw.values(shape, dtype), indices, draw.values(indices.shape, dtype)],
      attributes: { axis },
    };
  },
  segmentSum(draw) {
    const shape = draw.shape(1, 3);
    const segments = draw.whole(0, 5);
    const ids = draw.integers(shape.slice(0, 1), -1, segments);
    const sorted = ids.data.toSorted((a, b) => a - b);
    return { inputs: [draw.floats(shape), { ...ids, data: sorted }], attributes: { segments } };
  },
  topK(draw) {
    const shape = [...draw.shape(0, 2), draw.whole(1, 9)];
    const scores = draw.chance()
      ? draw.floats(shape)
      : { ...draw.integers(shape, 0, 3), dtype: "f32" as const };
    const mask = draw.chance() ? draw.values(shape, "bool") : undefined;
    return { inputs: [scores, mask], attributes: { k: draw.whole(0, shape.at(-1) ?? 0) } };
  },
  argsort(draw) {
    const shape = [...draw.shape(0, 2), draw.whole(0, 9)];
    const x = { ...draw.integers(shape, 0, 5), dtype: draw.pick(NUMBERS) };
    const mask = draw.chance() ? draw.values(shape, "bool") : undefined;
    return { inputs: [x, mask], attributes: { descending: draw.chance() } };
  },
  groupRows(draw) {
    const groups = draw.whole(0, 5);
    const ids = draw.integers([draw.whole(0, 12)], -1, groups);
    return { inputs: [ids], attributes: { groups } };
  },
  groupedMatmul(draw) {
    const { groups, rows, offsets } = windowed(draw);
    const [inner, width, count] = [draw.whole(0, 4), draw.whole(0, 4), draw.whole(1, 6)];
    const transposed = draw.chance();
    const matrix = transposed ? [inner, width] : [width, inner];
    const index = draw.chance() ? draw.integers([rows], -1, count) : undefined;
    const x = draw.floats([index ? count : rows, inner]);
    const weights = draw.floats([groups, ...matrix]);
    return { inputs: [x, weights, offsets, index], attributes: { transposed } };
  },
  groupedMatmulGradWeights(draw) {
    const { rows, offsets } = windowed(draw);
    const [inner, width, count] = [draw.whole(0, 4), draw.whole(0, 4), draw.whole(1, 6)];
    const index = draw.chance() ? draw.integers([rows], -1, count) : undefined;
    const x = draw.floats([index ? count : rows, inner]);
    const dy = draw.floats([rows, width]);
    return { inputs: [x, dy, offsets, index], attributes: { transposed: draw.chance() } };
  },
  randomBits: (draw) => ({ inputs: [], attributes: drawn(draw) }),
  uniform: (draw) => ({ inputs: [], attributes: { ...drawn(draw), dtype: "f32" } }),
  normal: (draw) => ({ inputs: [], attributes: { ...drawn(draw), dtype: "f32" } }),
  dequantize(draw) {
    const format = draw.pick(Object.keys(quantizedFormats) as QuantizedFormat[]);
    const { codesPerByte, block } = quantizedFormats[format];
    const [rows, width] = [draw.shape(0, 2), draw.whole(0, 3) * (block ?? 1)];
    const blocks = block === undefined ? rows : [...rows, width / block];
    return {
      inputs: [
        draw.integers([...rows, width / codesPerByte], 0, 255, "u8"),
        format === "mxfp4" ? draw.integers(blocks, 90, 160, "u8") : draw.floats(blocks),
      ],
      attributes: { format, shape: [...rows, width], dtype: "f32" },
    };
  },
};

function drawn(draw: Draw): { readonly [name: string]: AttributeValue } {
  const word = (): number => draw.whole(0, 2 ** 32 - 1);
  return { key: [word(), word()], shape: draw.shape(0, 3) };
}

/** Attributes for a run in f64. */
export function inF64(attributes: Attributes): Attributes {
  return attributes["dtype"] === "f32" ? { ...attributes, dtype: "f64" } : attributes;
}
