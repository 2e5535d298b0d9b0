import type { Attributes, Shape, TensorSpec } from "@moiety/core";

/** A call that compiles what an op usually needs. All integers in it are 0. */
export interface Sample {
  readonly inputs: readonly (TensorSpec | undefined)[];
  readonly attributes: Attributes;
  readonly outputs: readonly TensorSpec[];
}

const f32 = (...shape: Shape): TensorSpec => ({ shape, dtype: "f32" });
const i32 = (...shape: Shape): TensorSpec => ({ shape, dtype: "i32" });

/** Widths of rows: a multiple of the vectors in which rows are read. */
const WIDTH = 64;
/** Experts or groups, and choices. */
const [EXPERTS, CHOICES] = [4, 2];
/** Rows of decoding, of a small batch, and of tiles that are full. */
const ROWS: readonly number[] = [1, 8, 64];

const x: TensorSpec = { shape: [8, WIDTH], dtype: "f32" };
const row: TensorSpec = { shape: [8], dtype: "f32" };
const weight: TensorSpec = { shape: [WIDTH], dtype: "f32" };
const heads: TensorSpec = { shape: [1, 8, 2, 16], dtype: "f32" };

const unaryOf = (kind: string): Sample => ({ inputs: [x], attributes: { kind }, outputs: [x] });

function binariesOf(kind: string): Sample[] {
  return [
    { inputs: [x, x], attributes: { kind }, outputs: [x] },
    { inputs: [x, undefined], attributes: { kind, scalar: 2 }, outputs: [x] },
  ];
}

function reducesOf(kind: string): Sample[] {
  return [
    { inputs: [x], attributes: { kind, axes: [1] }, outputs: [row] },
    { inputs: [x], attributes: { kind, axes: [0] }, outputs: [weight] },
  ];
}

function matmulsOf(rows: number): Sample[] {
  const [a, b, y] = [f32(rows, WIDTH), f32(WIDTH, WIDTH), f32(rows, WIDTH)];
  return [
    { inputs: [a, b], attributes: {}, outputs: [y] },
    { inputs: [a, b], attributes: { transposeB: true }, outputs: [y] },
  ];
}

function linearOf(rows: number): Sample {
  const y = f32(rows, WIDTH);
  return { inputs: [y, f32(WIDTH, WIDTH), undefined], attributes: {}, outputs: [y] };
}

function groupedOf(rows: number): Sample {
  return {
    inputs: [f32(rows, WIDTH), f32(EXPERTS, WIDTH, WIDTH), i32(EXPERTS + 1), i32(rows)],
    attributes: {},
    outputs: [f32(rows, WIDTH)],
  };
}

const mixtral: Attributes = { topK: CHOICES, score: "softmax", renormalize: {} };
const logits = (rows: number): TensorSpec => f32(rows, EXPERTS);
const choices = (rows: number): TensorSpec => i32(rows, CHOICES);

function routesOf(rows: number): Sample {
  return {
    inputs: [logits(rows), undefined, undefined],
    attributes: mixtral,
    outputs: [logits(rows), choices(rows), f32(rows, CHOICES)],
  };
}

/** SwiGLU, as most families have it. */
const swiglu: Attributes = {
  descriptor: { activation: "silu", gate: { packing: "concatenated", first: "gate" } },
};
const bank: readonly [TensorSpec, TensorSpec] = [
  { shape: [EXPERTS, 2 * WIDTH, WIDTH], dtype: "f32" },
  { shape: [EXPERTS, WIDTH, WIDTH], dtype: "f32" },
];

function ffnOf(rows: number): Sample {
  return {
    inputs: [
      f32(rows, WIDTH),
      choices(rows),
      f32(rows, CHOICES),
      ...bank,
      undefined,
      undefined,
      undefined,
    ],
    attributes: swiglu,
    outputs: [f32(rows, WIDTH)],
  };
}

function ffnBackward(): Sample {
  const [hidden, weights] = [f32(8 * CHOICES, 2 * WIDTH), f32(8, CHOICES)];
  const none = [undefined, undefined, undefined];
  return {
    inputs: [x, hidden, x, choices(8), weights, ...bank, ...none],
    attributes: swiglu,
    outputs: [x, weights, ...bank, f32(0), f32(0), f32(0)],
  };
}

const attentionAttributes: Attributes = { causal: true, scale: 0.25, position: 0 };
const logSumExp: TensorSpec = { shape: [1, 2, 8], dtype: "f32" };

/** What is run for each op, by name; ops without a line have one kernel that costs little. */
export function samplesByOp(): Readonly<Record<string, readonly Sample[]>> {
  return {
    fill: [{ inputs: [], attributes: { shape: [8], value: 0, dtype: "f32" }, outputs: [row] }],
    iota: [{ inputs: [], attributes: { shape: [8], axis: 0, dtype: "f32" }, outputs: [row] }],
    cast: [{ inputs: [i32(8)], attributes: { dtype: "f32" }, outputs: [row] }],
    unary: ["neg", "exp", "sigmoid", "tanh", "sqrt", "rsqrt"].map(unaryOf),
    binary: ["add", "sub", "mul", "div"].flatMap(binariesOf),
    reduce: ["sum", "max"].flatMap(reducesOf),
    cumsum: [{ inputs: [x], attributes: { axis: 1 }, outputs: [x] }],
    matmul: ROWS.flatMap(matmulsOf),
    linear: ROWS.map(linearOf),
    roundBlocks: [{ inputs: [x], attributes: {}, outputs: [x] }],
    transpose: [{ inputs: [x], attributes: { permutation: [1, 0] }, outputs: [f32(WIDTH, 8)] }],
    gatherRows: [{ inputs: [x, i32(4)], attributes: {}, outputs: [f32(4, WIDTH)] }],
    segmentSum: [{ inputs: [x, i32(8)], attributes: { segments: 4 }, outputs: [f32(4, WIDTH)] }],
    topK: [
      {
        inputs: [x, undefined],
        attributes: { k: CHOICES },
        outputs: [f32(8, CHOICES), choices(8)],
      },
    ],
    groupRows: [
      {
        inputs: [i32(16)],
        attributes: { groups: EXPERTS },
        outputs: [i32(16), i32(16), i32(EXPERTS + 1), i32(16)],
      },
    ],
    groupedMatmul: ROWS.map(groupedOf),
    groupedMatmulGradWeights: [
      {
        inputs: [x, x, i32(EXPERTS + 1), i32(8)],
        attributes: {},
        outputs: [f32(EXPERTS, WIDTH, WIDTH)],
      },
    ],
    softmax: [{ inputs: [x, undefined], attributes: {}, outputs: [x] }],
    logSumExp: [{ inputs: [x], attributes: {}, outputs: [row] }],
    rmsNorm: [{ inputs: [x, weight], attributes: { epsilon: 1e-5 }, outputs: [x] }],
    rmsNormBackward: [
      { inputs: [x, weight, f32(8, 1), x], attributes: { epsilon: 1e-5 }, outputs: [x, weight] },
    ],
    rope: [{ inputs: [heads, f32(8, 8), f32(8, 8)], attributes: {}, outputs: [heads] }],
    attention: [
      {
        inputs: [heads, heads, heads, undefined],
        attributes: attentionAttributes,
        outputs: [heads],
      },
    ],
    attentionBackward: [
      {
        inputs: [heads, heads, heads, heads, logSumExp, heads, undefined],
        attributes: attentionAttributes,
        outputs: [heads, heads, heads],
      },
    ],
    crossEntropy: [{ inputs: [x, i32(8)], attributes: {}, outputs: [row] }],
    crossEntropyBackward: [{ inputs: [x, i32(8), row, row], attributes: {}, outputs: [x] }],
    adamW: [
      {
        inputs: [x, x, x, x],
        attributes: {
          learningRate: 0,
          beta1: 0,
          beta2: 0,
          epsilon: 1,
          weightDecay: 0,
          step: 1,
        },
        outputs: [x, x, x],
      },
    ],
    routeTopK: ROWS.map(routesOf),
    routeTopKBackward: [
      {
        inputs: [logits(8), choices(8), undefined, f32(8, CHOICES)],
        attributes: mixtral,
        outputs: [logits(8)],
      },
    ],
    moeFfn: ROWS.map(ffnOf),
    moeFfnBackward: [ffnBackward()],
  };
}
