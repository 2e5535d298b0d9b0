import { create } from "@moiety/backend-cpu";
import { describe, expect, it } from "vitest";
import type { Backend } from "../contract.ts";
import { customGradient, valueAndGrad } from "../gradient.ts";
import type { AnyOp } from "../op.ts";
import { hostNormal, randomKey } from "../random.ts";
import type { Shape } from "../shape.ts";
import { sizeOf } from "../shape.ts";
import { type Tensor, isTensor } from "../tensor.ts";
import { allOps } from "../op-table.ts";
import * as ops from "./index.ts";

/** The ops of this folder; those of the layer are tested beside it. */
const tensorOps = allOps.filter(({ name }) => name in ops);

/** How an input is drawn: away from the op's kinks and poles. */
type Domain = "any" | "positive" | "apart";

interface Input {
  readonly shape: Shape;
  readonly domain: Domain;
}

interface Case {
  readonly op: AnyOp | undefined;
  readonly name: string;
  readonly inputs: readonly Input[];
  run(...inputs: Tensor[]): Tensor | readonly Tensor[];
}

/** Small enough for the curvature (error about 1e-10), large enough for rounding (about 1e-10). */
const STEP = 1e-5;
const backend: Backend = await create();
const any = (...shape: number[]): Input => ({ shape, domain: "any" });
const apart = (...shape: number[]): Input => ({ shape, domain: "apart" });
const ids = (values: readonly number[], shape: Shape = [values.length]): Tensor =>
  backend.tensor(values, { shape, dtype: "i32" });
const bools = (values: readonly number[], shape: Shape = [values.length]): Tensor =>
  backend.tensor(values, { shape, dtype: "bool" });

const cases: Case[] = [];

function check(
  op: AnyOp | undefined,
  name: string,
  inputs: readonly Input[],
  run: (...inputs: Tensor[]) => Tensor | readonly Tensor[],
): void {
  cases.push({ op, name: `${op?.name ?? "sugar"}: ${name}`, inputs, run });
}

const SHAPES: readonly Shape[] = [[], [3], [2, 3], [0, 2]];
const unaryDomains: Readonly<Partial<Record<ops.UnaryKind, Domain>>> = {
  neg: "any",
  abs: "apart",
  exp: "any",
  log: "positive",
  log1p: "positive",
  sqrt: "positive",
  rsqrt: "positive",
  reciprocal: "apart",
  tanh: "any",
  erf: "any",
  sigmoid: "any",
  softplus: "any",
  sin: "any",
  cos: "any",
};
for (const [kind, domain] of Object.entries(unaryDomains)) {
  for (const shape of SHAPES) {
    check(ops.unary, `${kind} [${shape}]`, [{ shape, domain }], (x) =>
      ops.unary(x, { kind: kind as ops.UnaryKind }),
    );
  }
}

const PAIRS: readonly (readonly [Shape, Shape])[] = [
  [
    [2, 3],
    [2, 3],
  ],
  [[2, 3], [3]],
  [
    [2, 1],
    [1, 3],
  ],
  [[], [2]],
  [
    [0, 3],
    [1, 3],
  ],
];
for (const kind of ["add", "sub", "mul", "div", "max", "min", "pow"] as const) {
  const domain = kind === "pow" ? "positive" : kind === "div" ? "apart" : "any";
  for (const [a, b] of PAIRS) {
    check(
      ops.binary,
      `${kind} [${a}] [${b}]`,
      [
        { shape: a, domain },
        { shape: b, domain: kind === "pow" ? "any" : domain },
      ],
      (x, y) => ops.binary(x, y, { kind }),
    );
  }
  check(ops.binary, `${kind} with a scalar`, [{ shape: [2, 3], domain }], (x) =>
    ops.binary(x, undefined, { kind, scalar: 0.7 }),
  );
}
check(ops.binary, "pow with whole exponents of negative numbers", [any(5)], (x) =>
  [1, 2, 3].map((scalar) => ops.pow(x, scalar)),
);

const condition = (): Tensor => bools([1, 0, 0, 1, 1, 0], [2, 3]);
check(ops.where, "two tensors", [any(2, 3), any(3)], (a, b) => ops.where(condition(), a, b, {}));
check(ops.where, "one repeated in rank", [any(3), any(4, 1, 1)], (a, b) =>
  ops.where(condition(), a, b, {}),
);
check(ops.where, "scalars", [any(2, 3)], (x) => [
  ops.where(condition(), x, undefined, { b: 2 }),
  ops.where(condition(), undefined, x, { a: -1 }),
]);
check(ops.broadcast, "rows", [any(2, 1)], (x) => ops.broadcast(x, { shape: [4, 2, 3] }));
check(ops.broadcast, "a scalar", [any()], (x) => ops.broadcast(x, { shape: [3] }));
check(ops.broadcast, "to nothing", [any(2, 1)], (x) => ops.broadcast(x, { shape: [0, 2, 3] }));

for (const kind of ["sum", "max", "min"] as const) {
  for (const axes of [[], [0], [1], [2], [0, 2], [0, 1, 2]]) {
    check(ops.reduce, `${kind} over [${axes}]`, [any(2, 3, 2)], (x) => [
      ops.reduce(x, { kind, axes }),
      ops.reduce(x, { kind, axes, keepDims: true }),
    ]);
  }
  check(ops.reduce, `${kind} of an empty tensor`, [any(0, 3)], (x) =>
    ops.reduce(x, { kind, axes: [1] }),
  );
}
check(ops.reduce, "sum of nothing", [any(2, 0)], (x) => ops.reduce(x, { kind: "sum", axes: [1] }));

for (const axis of [0, 1, 2]) {
  for (const exclusive of [false, true]) {
    for (const reverse of [false, true]) {
      check(ops.cumsum, `axis ${axis} ${exclusive} ${reverse}`, [any(2, 3, 2)], (x) =>
        ops.cumsum(x, { axis, exclusive, reverse }),
      );
    }
  }
}
check(ops.cast, "f64", [any(2, 3)], (x) => ops.cast(x, { dtype: "f64" }));

for (const transposeA of [false, true]) {
  for (const transposeB of [false, true]) {
    const a = transposeA ? [3, 2] : [2, 3];
    const b = transposeB ? [4, 3] : [3, 4];
    const batches: readonly (readonly [Shape, Shape])[] = [
      [[], []],
      [[2], []],
      [[], [2]],
      [
        [2, 1],
        [1, 2],
      ],
      [[0], []],
    ];
    for (const [left, right] of batches) {
      check(
        ops.matmul,
        `${transposeA} ${transposeB} batch [${left}] [${right}]`,
        [any(...left, ...a), any(...right, ...b)],
        (x, y) => ops.matmul(x, y, { transposeA, transposeB }),
      );
    }
  }
}
check(ops.matmul, "no inner size", [any(2, 0), any(0, 3)], (a, b) => ops.matmul(a, b));

check(ops.transpose, "rank 3", [any(2, 3, 4)], (x) => ops.transpose(x, { permutation: [2, 0, 1] }));
check(ops.slice, "a box", [any(3, 4)], (x) => [
  ops.slice(x, { starts: [1, 0], sizes: [2, 3] }),
  ops.slice(x, { starts: [0, 2], sizes: [0, 2] }),
]);
check(ops.writeSlice, "a box", [any(3, 4), any(2, 1)], (target, update) =>
  ops.writeSlice(target, update, { starts: [1, 2] }),
);
for (const axis of [0, 1]) {
  check(ops.concat, `axis ${axis}`, [any(2, 2), any(2, 2), any(2, 2)], (...list) =>
    ops.concat(...list, { axis }),
  );
}
check(ops.concat, "an empty piece", [any(0, 2), any(3, 2)], (a, b) =>
  ops.concat(a, b, { axis: 0 }),
);
check(ops.pad, "both sides", [any(2, 3)], (x) =>
  ops.pad(x, { before: [1, 0], after: [0, 2], value: 3 }),
);

check(ops.gatherRows, "repeated and outside", [any(4, 3)], (table) => [
  ops.gatherRows(table, ids([2, 2, -1, 0, 4, 2])),
  ops.gatherRows(table, ids([1, 3, 3, 7], [2, 2])),
  ops.gatherRows(table, ids([3], [])),
  ops.gatherRows(table, ids([])),
]);
check(ops.gatherRows, "numbers and blocks", [any(3), any(3, 2, 2)], (numbers, blocks) => [
  ops.gatherRows(numbers, ids([0, 0, 2])),
  ops.gatherRows(blocks, ids([1, 1, 9])),
]);
check(ops.gatherRows, "of an empty table", [any(0, 2)], (table) =>
  ops.gatherRows(table, ids([0, 1])),
);
check(ops.segmentSum, "empty segments, ids outside", [any(6, 2)], (rows) =>
  ops.segmentSum(rows, ids([-1, 0, 0, 2, 2, 4]), { segments: 4 }),
);
check(ops.segmentSum, "of numbers", [any(3)], (rows) =>
  ops.segmentSum(rows, ids([0, 0, 1]), { segments: 3 }),
);
check(ops.segmentSum, "of nothing", [any(0, 2)], (rows) =>
  ops.segmentSum(rows, ids([]), { segments: 3 }),
);

check(ops.takeAlong, "unique, outside", [any(2, 4)], (x) =>
  ops.takeAlong(x, ids([3, 0, 5, 1, 2, -1], [2, 3]), { axis: 1, unique: true }),
);
check(ops.takeAlong, "repeated, outside", [any(2, 4)], (x) =>
  ops.takeAlong(x, ids([3, 3, 5, 3, 2, -1], [2, 3]), { axis: 1 }),
);
check(ops.takeAlong, "repeated in the middle", [any(2, 3, 2)], (x) =>
  ops.takeAlong(x, ids([0, 1, 0, 2, 2, 2, 1, -3], [2, 2, 2]), { axis: 1 }),
);
check(ops.takeAlong, "repeated in front", [any(3, 2)], (x) =>
  ops.takeAlong(x, ids([1, 0, 1, 2], [2, 2]), { axis: 0 }),
);
check(ops.takeAlong, "nothing", [any(0, 3)], (x) => ops.takeAlong(x, ids([], [0, 2]), { axis: 1 }));
check(ops.putAlong, "last axis, outside", [any(2, 4), any(2, 3)], (x, updates) =>
  ops.putAlong(x, ids([3, 0, 9, 1, -1, 2], [2, 3]), updates, { axis: 1 }),
);
check(ops.putAlong, "first axis", [any(3, 2), any(2, 2)], (x, updates) =>
  ops.putAlong(x, ids([2, 0, 1, 1], [2, 2]), updates, { axis: 0 }),
);

for (const k of [0, 1, 2, 4]) {
  check(ops.topK, `k ${k}`, [any(3, 4)], (scores) => ops.topK(scores, undefined, { k })[0]);
}
check(
  ops.topK,
  "masked",
  [any(2, 4)],
  (scores) => ops.topK(scores, bools([0, 1, 1, 0, 0, 0, 0, 1], [2, 4]), { k: 3 })[0],
);

for (const transposed of [false, true]) {
  const weights = transposed ? any(3, 2, 4) : any(3, 4, 2);
  check(ops.groupedMatmul, `rows, ${transposed}`, [any(5, 2), weights], (x, w) =>
    ops.groupedMatmul(x, w, ids([0, 2, 2, 5]), undefined, { transposed }),
  );
  check(ops.groupedMatmul, `a window, ${transposed}`, [any(6, 2), weights], (x, w) =>
    ops.groupedMatmul(x, w, ids([1, 2, 4, 5]), undefined, { transposed }),
  );
  check(ops.groupedMatmul, `indexed rows, ${transposed}`, [any(3, 2), weights], (x, w) =>
    ops.groupedMatmul(x, w, ids([0, 2, 4, 6]), ids([2, 0, 0, 3, -1, 2]), { transposed }),
  );
  check(ops.groupedMatmul, `no rows, ${transposed}`, [any(0, 2), weights], (x, w) =>
    ops.groupedMatmul(x, w, ids([0, 0, 0, 0]), undefined, { transposed }),
  );
  check(ops.groupedMatmulGradWeights, `rows, ${transposed}`, [any(5, 2), any(5, 3)], (x, dy) =>
    ops.groupedMatmulGradWeights(x, dy, ids([1, 2, 2, 4]), undefined, { transposed }),
  );
  check(ops.groupedMatmulGradWeights, `indexed, ${transposed}`, [any(3, 2), any(4, 3)], (x, dy) =>
    ops.groupedMatmulGradWeights(x, dy, ids([0, 1, 4]), ids([1, 1, 5, 0]), { transposed }),
  );
}

for (const shape of [[4], [2, 3], [2, 0], [0, 3], [2, 2, 3]]) {
  check(ops.softmax, `[${shape}]`, [any(...shape)], (x) => ops.softmax(x));
}
check(ops.softmax, "masked, one row wholly", [any(3, 3)], (x) =>
  ops.softmax(x, bools([1, 0, 1, 0, 0, 0, 0, 1, 0], [3, 3])),
);
check(ops.softmax, "a mask for all rows", [any(2, 2, 3)], (x) =>
  ops.softmax(x, bools([1, 0, 1, 1, 1, 0], [2, 3])),
);
for (const shape of [[4], [2, 3], [0, 3]]) {
  check(ops.logSumExp, `[${shape}]`, [any(...shape)], (x) => ops.logSumExp(x));
}

for (const shape of [[4], [2, 3], [0, 3], [2, 2, 3]]) {
  check(ops.rmsNorm, `[${shape}]`, [any(...shape), any(shape.at(-1) ?? 0)], (x, weight) =>
    ops.rmsNorm(x, weight, { epsilon: 1e-3 }),
  );
}

const table = ops.rotaryTable(backend, {
  positions: [0, 3, 100],
  frequencies: ops.rotaryFrequencies(4, 100),
  dtype: "f64",
});
for (const interleaved of [false, true]) {
  for (const inverse of [false, true]) {
    check(ops.rope, `${interleaved} ${inverse}`, [any(2, 3, 2, 4)], (x) =>
      ops.rope(x, table.cos, table.sin, { interleaved, inverse }),
    );
    check(ops.rope, `partly ${interleaved} ${inverse}`, [any(3, 1, 7)], (x) =>
      ops.rope(x, table.cos, table.sin, { interleaved, inverse }),
    );
    check(
      ops.rope,
      `tables of each batch entry ${interleaved} ${inverse}`,
      [any(2, 3, 1, 4), any(2, 3, 2), any(2, 3, 2)],
      (x, cos, sin) => ops.rope(x, cos, sin, { interleaved, inverse }),
    );
  }
}

const attentions: readonly {
  readonly name: string;
  readonly sizes: readonly [B: number, Tq: number, Tk: number, Hq: number, Hkv: number];
  readonly attributes: ops.AttentionAttributes;
  readonly mask?: readonly number[];
  readonly sinks?: boolean;
}[] = [
  { name: "plain", sizes: [2, 3, 4, 2, 2], attributes: { causal: false, scale: 0.5, position: 0 } },
  { name: "causal", sizes: [1, 4, 4, 2, 2], attributes: { causal: true, scale: 0.7, position: 0 } },
  { name: "grouped", sizes: [2, 3, 3, 4, 2], attributes: { causal: true, scale: 1, position: 0 } },
  {
    name: "with a cache",
    sizes: [1, 2, 6, 2, 1],
    attributes: { causal: true, scale: 1, position: 3 },
  },
  {
    name: "one query",
    sizes: [2, 1, 5, 2, 1],
    attributes: { causal: true, scale: 1, position: 2 },
  },
  {
    name: "masked",
    sizes: [2, 2, 3, 2, 1],
    attributes: { causal: false, scale: 1, position: 0 },
    mask: [1, 0, 1, 0, 0, 0],
  },
  {
    name: "masked and causal",
    sizes: [2, 3, 3, 2, 1],
    attributes: { causal: true, scale: 1, position: 0 },
    mask: [0, 1, 1, 1, 1, 0],
  },
  {
    name: "with a window",
    sizes: [2, 4, 7, 2, 1],
    attributes: { causal: true, scale: 1, position: 2, window: 3 },
  },
  {
    name: "with sinks",
    sizes: [2, 3, 4, 4, 2],
    attributes: { causal: false, scale: 0.5, position: 0 },
    sinks: true,
  },
  {
    name: "with sinks and a window, masked",
    sizes: [2, 4, 4, 4, 2],
    attributes: { causal: true, scale: 0.7, position: 0, window: 2 },
    mask: [0, 1, 1, 1, 1, 0, 0, 0],
    sinks: true,
  },
  {
    name: "one query with sinks",
    sizes: [1, 1, 5, 2, 1],
    attributes: { causal: true, scale: 1, position: 3, window: 2 },
    sinks: true,
  },
  {
    name: "no keys but sinks",
    sizes: [1, 2, 0, 2, 1],
    attributes: { causal: false, scale: 1, position: 0 },
    sinks: true,
  },
  {
    name: "no queries",
    sizes: [1, 0, 3, 2, 1],
    attributes: { causal: false, scale: 1, position: 0 },
  },
  { name: "no keys", sizes: [1, 2, 0, 2, 1], attributes: { causal: false, scale: 1, position: 0 } },
];
for (const { name, sizes, attributes, mask, sinks } of attentions) {
  const [batch, queries, keys, heads, keyHeads] = sizes;
  check(
    ops.attention,
    name,
    [
      any(batch, queries, heads, 2),
      any(batch, keys, keyHeads, 2),
      any(batch, keys, keyHeads, 3),
      ...(sinks ? [any(heads)] : []),
    ],
    (q, k, v, sink) => ops.attention(q, k, v, mask && bools(mask, [batch, keys]), sink, attributes),
  );
}

check(ops.crossEntropy, "with ignored rows", [any(4, 3)], (logits) =>
  ops.crossEntropy(logits, ids([2, -100, 0, 3])),
);
check(ops.crossEntropy, "no rows", [any(0, 3)], (logits) => ops.crossEntropy(logits, ids([])));

for (const shape of [[3], [2, 3], [2, 2, 3], [0, 3]]) {
  check(ops.linear, `rows [${shape}]`, [any(...shape), any(4, 3)], (x, weight) =>
    ops.linear(x, weight, undefined, {}),
  );
}

for (const activation of [ops.relu, ops.reluSquared, ops.silu, ops.gelu, ops.geluTanh]) {
  check(undefined, activation.name, [apart(2, 3)], activation);
}
check(undefined, "mean", [any(2, 3)], (x) => [ops.mean(x), ops.mean(x, [-1], true)]);
check(undefined, "stack", [any(2), any(2)], (a, b) => [ops.stack([a, b]), ops.stack([a, b], -1)]);
check(undefined, "split", [any(4, 2)], (x) => [...ops.split(x, 2), ...ops.split(x, [1, 0, 1], -1)]);
check(undefined, "scatterRows", [any(4, 2)], (rows) => ops.scatterRows(rows, ids([2, 0, 2, 5]), 3));
check(undefined, "select", [any(2, 3)], (x) => [
  ops.select(condition(), x, 0),
  ops.select(condition(), 1, x),
]);
check(undefined, "reshape between ops", [any(2, 3)], (x) => ops.mul(x.reshape([3, 2]), 2));

describe("gradients", () => {
  it.each(cases)("$name", async (one) => {
    for (const seed of [1, 2]) expect(await disagreements(one, seed)).toEqual([]);
  });

  it("fail the comparison when they are wrong by a hundred-thousandth", async () => {
    const wrong = customGradient((x: Tensor) => ({
      outputs: [ops.exp(x)] as const,
      saved: [ops.mul(ops.exp(x), 1 + 1e-5)],
      gradient: ([gradient], [slope]) => [ops.mul(gradient as Tensor, slope as Tensor)],
    }));
    const one: Case = { op: undefined, name: "wrong", inputs: [any(3)], run: (x) => wrong(x) };
    expect(await disagreements(one, 1)).not.toEqual([]);
  });

  it("are tested for every op that has one", () => {
    const tested = new Set(cases.map(({ op }) => op?.name));
    const untested = tensorOps.filter(
      ({ name, definition }) => definition.gradient && !tested.has(name),
    );
    // Its gradient is not that of the staircase that it is; the tests beside it hold it to what it is.
    expect(untested.map(({ name }) => name)).toEqual(["roundBlocks"]);
  });

  it("are missing from the ops that have none to give, and no others", () => {
    const without = tensorOps.filter(({ definition }) => !definition.gradient);
    // Of these linear alone is differentiated all the same: through its parts.
    expect(without.map(({ name }) => name).sort()).toEqual([
      "adamW",
      "argsort",
      "attentionBackward",
      "compare",
      "crossEntropyBackward",
      "dequantize",
      "fill",
      "groupRows",
      "iota",
      "linear",
      "normal",
      "randomBits",
      "rmsNormBackward",
      "uniform",
    ]);
  });
});

/** Where gradients differ from central differences by more than 1e-6 of the largest entry. */
async function disagreements(one: Case, seed: number): Promise<string[]> {
  const points = one.inputs.map((input, index) => draw(input, seed * 100 + index));
  const upload = (values: readonly Float64Array[]): Tensor[] =>
    values.map((data, index) =>
      backend.tensor(data, { shape: one.inputs[index]?.shape ?? [], dtype: "f64" }),
    );
  const outputsOf = (inputs: readonly Tensor[]): readonly Tensor[] => {
    const result = one.run(...inputs);
    return isTensor(result) ? [result] : result;
  };
  // Every output element gets a weight of its own, so that no error can hide in a sum.
  const weights = outputsOf(upload(points)).map((output, index) =>
    draw({ shape: output.shape, domain: "any" }, seed * 100 + 50 + index),
  );
  const { loss, grads } = valueAndGrad((inputs: Tensor[]) =>
    outputsOf(inputs)
      .map((output, index) => {
        const weight = backend.tensor(weights[index] ?? new Float64Array(), {
          shape: output.shape,
        });
        return ops.sum(ops.mul(output, weight));
      })
      .reduce((total, part) => ops.add(total, part)),
  )(upload(points));
  const lossAt = async (values: readonly Float64Array[]): Promise<number> => {
    const outputs = backend.scope(() => outputsOf(upload(values)));
    let total = 0;
    for (const [index, output] of outputs.entries()) {
      const read = await output.read();
      read.forEach((value, at) => (total += value * (weights[index]?.[at] ?? 0)));
      output.dispose();
    }
    return total;
  };
  expect(await loss.item()).toBeCloseTo(await lossAt(points), 12);

  const analytic = await Promise.all(
    grads.map(async (gradient, index) => {
      if (gradient) return [...(await gradient.read())];
      return Array.from({ length: sizeOf(one.inputs[index]?.shape ?? []) }, () => 0);
    }),
  );
  for (const [index, gradient] of grads.entries()) {
    if (gradient) expect(gradient.shape).toEqual(one.inputs[index]?.shape);
  }
  const numeric = points.map((point) => new Array<number>(point.length).fill(0));
  for (const [index, point] of points.entries()) {
    for (let at = 0; at < point.length; at++) {
      const moved = (by: number): Float64Array[] =>
        points.map((other, which) =>
          which === index ? other.with(at, (other[at] ?? 0) + by) : other,
        );
      const difference = (await lossAt(moved(STEP))) - (await lossAt(moved(-STEP)));
      (numeric[index] ?? [])[at] = difference / (2 * STEP);
    }
  }
  const largest = Math.max(1e-3, ...numeric.flat().map(Math.abs));
  return numeric.flatMap((values, index) =>
    values.flatMap((value, at) => {
      const found = analytic[index]?.[at] ?? Number.NaN;
      if (Math.abs(found - value) / largest < 1e-6) return [];
      return [`input ${index}, element ${at}: ${found} against ${value}`];
    }),
  );
}

function draw({ shape, domain }: Input, seed: number): Float64Array {
  return hostNormal(randomKey(seed), sizeOf(shape)).map((value) => {
    if (domain === "positive") return 0.5 + Math.abs(value);
    return domain === "apart" ? value + Math.sign(value) * 0.3 : value;
  });
}
