import {
  type AnyOp,
  type Backend,
  type DType,
  type Op,
  type Tensor,
  UnsupportedError,
  argsort,
  binary,
  broadcast,
  cast,
  compare,
  concat,
  cumsum,
  defineOp,
  dequantize,
  fill,
  gatherRows,
  groupRows,
  groupedMatmul,
  groupedMatmulGradWeights,
  iota,
  matmul,
  normal,
  pad,
  putAlong,
  randomBits,
  reduce,
  segmentSum,
  slice,
  takeAlong,
  topK,
  transpose,
  unary,
  uniform,
  where,
  writeSlice,
} from "@moiety/core";
import { allOps } from "@moiety/core/ops";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { ALL_DTYPES, BASE_DTYPES, contractCase } from "./l0-support.ts";

/** The least call of an op. */
interface Sample {
  readonly op: AnyOp;
  /** Dtypes of the tensors that it makes itself. */
  readonly dtypes: readonly DType[];
  call(backend: Backend): Tensor | readonly Tensor[];
}

const grid = (backend: Backend): Tensor => backend.tensor([1, 2, 3, 4, 5, 6], { shape: [2, 3] });
const ids = (backend: Backend, values: readonly number[]): Tensor =>
  backend.tensor(values, { dtype: "i32" });
const flags = (backend: Backend): Tensor =>
  backend.tensor([1, 0, 1, 0, 1, 0], { shape: [2, 3], dtype: "bool" });
const banks = (backend: Backend): Tensor =>
  backend.tensor(new Float32Array(12), { shape: [2, 2, 3] });
const key = [1, 2] as const;

/** One call of every op that some profile requires. */
const SAMPLES: readonly Sample[] = [
  { op: fill, dtypes: [], call: (b) => fill(b, { shape: [2], value: 1, dtype: "f32" }) },
  { op: iota, dtypes: [], call: (b) => iota(b, { shape: [2], axis: 0, dtype: "f32" }) },
  { op: cast, dtypes: ["f32", "i32"], call: (b) => cast(grid(b), { dtype: "i32" }) },
  { op: unary, dtypes: ["f32"], call: (b) => unary(grid(b), { kind: "neg" }) },
  { op: binary, dtypes: ["f32"], call: (b) => binary(grid(b), grid(b), { kind: "add" }) },
  { op: compare, dtypes: ["f32"], call: (b) => compare(grid(b), grid(b), { kind: "eq" }) },
  {
    op: where,
    dtypes: ["f32", "bool"],
    call: (b) => where(flags(b), grid(b), undefined, { b: 0 }),
  },
  { op: broadcast, dtypes: ["f32"], call: (b) => broadcast(grid(b), { shape: [2, 2, 3] }) },
  { op: reduce, dtypes: ["f32"], call: (b) => reduce(grid(b), { kind: "sum", axes: [1] }) },
  { op: cumsum, dtypes: ["f32"], call: (b) => cumsum(grid(b), { axis: 1 }) },
  { op: matmul, dtypes: ["f32"], call: (b) => matmul(grid(b), grid(b), { transposeB: true }) },
  { op: transpose, dtypes: ["f32"], call: (b) => transpose(grid(b), { permutation: [1, 0] }) },
  { op: slice, dtypes: ["f32"], call: (b) => slice(grid(b), { starts: [0, 1], sizes: [2, 1] }) },
  {
    op: writeSlice,
    dtypes: ["f32"],
    call: (b) => writeSlice(grid(b), b.tensor([9], { shape: [1, 1] }), { starts: [1, 1] }),
  },
  { op: concat, dtypes: ["f32"], call: (b) => concat(grid(b), grid(b), { axis: 0 }) },
  {
    op: pad,
    dtypes: ["f32"],
    call: (b) => pad(grid(b), { before: [1, 0], after: [0, 1], value: 0 }),
  },
  { op: gatherRows, dtypes: ["f32", "i32"], call: (b) => gatherRows(grid(b), ids(b, [1, 0])) },
  {
    op: takeAlong,
    dtypes: ["f32", "i32"],
    call: (b) => takeAlong(grid(b), ids(b, [2, 0]).reshape([2, 1]), { axis: 1 }),
  },
  {
    op: putAlong,
    dtypes: ["f32", "i32"],
    call: (b) =>
      putAlong(grid(b), ids(b, [2, 0]).reshape([2, 1]), b.tensor([8, 9], { shape: [2, 1] }), {
        axis: 1,
      }),
  },
  {
    op: segmentSum,
    dtypes: ["f32", "i32"],
    call: (b) => segmentSum(grid(b), ids(b, [0, 2]), { segments: 3 }),
  },
  { op: topK, dtypes: ["f32", "i32"], call: (b) => topK(grid(b), undefined, { k: 2 }) },
  { op: argsort, dtypes: ["f32", "i32"], call: (b) => argsort(grid(b)) },
  { op: groupRows, dtypes: ["i32"], call: (b) => groupRows(ids(b, [1, 0, 1]), { groups: 2 }) },
  {
    op: groupedMatmul,
    dtypes: ["f32", "i32"],
    call: (b) => groupedMatmul(grid(b), banks(b), ids(b, [0, 1, 2])),
  },
  {
    op: groupedMatmulGradWeights,
    dtypes: ["f32", "i32"],
    call: (b) => groupedMatmulGradWeights(grid(b), grid(b), ids(b, [0, 1, 2])),
  },
  { op: randomBits, dtypes: ["u32"], call: (b) => randomBits(b, { key, shape: [3] }) },
  { op: uniform, dtypes: ["f32"], call: (b) => uniform(b, { key, shape: [3], dtype: "f32" }) },
  { op: normal, dtypes: ["f32"], call: (b) => normal(b, { key, shape: [3], dtype: "f32" }) },
];

/** `dequantize` needs a format, and one that the manifest may not have. */
const QUANTIZED_SAMPLE: Sample = {
  op: dequantize,
  dtypes: ["f32", "u8"],
  call: (b) =>
    dequantize(b.tensor(new Uint8Array(6), { shape: [2, 3] }), b.tensor([1, 2]), {
      format: "q8_row",
      shape: [2, 3],
      dtype: "f32",
    }),
};

function kernelCase({ op, dtypes, call }: Sample): ConformanceCase {
  return contractCase(
    `capabilities/kernel-${op.name}`,
    `a claimed ${op.name} runs as the driver's own kernel, and the record shows it`,
    [op],
    dtypes,
    async ({ backend, expect }) => {
      backend.resetRecord();
      const outputs = [backend.scope(() => call(backend))].flat();
      await Promise.all(outputs.map((output) => output.read()));
      for (const output of outputs) output.dispose();
      const entry = backend.record()[op.name];
      expect(
        entry?.kernel === 1 && entry.decomposed === 0,
        `one call of ${op.name} was recorded as ${JSON.stringify(entry)}`,
      );
    },
  );
}

async function unclaimedRefuse(test: CaseContext): Promise<void> {
  const { backend, capabilities } = test;
  const { ops, dtypes } = capabilities;
  for (const dtype of [...ALL_DTYPES, "f64" as const]) {
    if (dtypes.includes(dtype)) continue;
    const error = await test.throws(UnsupportedError, () => backend.upload({ shape: [1], dtype }));
    test.expect(
      error instanceof UnsupportedError && error.capability === dtype,
      `the error does not name ${dtype} as what is missing`,
    );
  }
  for (const { op, dtypes: needed, call } of [...SAMPLES, QUANTIZED_SAMPLE]) {
    if (ops.includes(op.name) || needed.some((dtype) => !dtypes.includes(dtype))) continue;
    const error = await test.throws(UnsupportedError, () => backend.scope(() => call(backend)));
    test.expect(
      error instanceof UnsupportedError && error.capability === op.name,
      `the error does not name ${op.name} as what is missing`,
    );
    test.expect(!backend.supports(op), `supports(${op.name}) is true, though it is not claimed`);
  }
}

/** An op that no driver can know: it runs by its decomposition everywhere. */
const twiceNegated: Op<[x: Tensor]> = /*#__PURE__*/ defineOp({
  name: "conformance/twice-negated",
  inputs: ["x"],
  infer: ([x]) => x,
  decompose: ([x]) => unary(unary(x, { kind: "neg" }), { kind: "neg" }),
});

/** Cases of the manifest's truth and of the execution record. */
export const capabilityCases: readonly ConformanceCase[] = [
  ...SAMPLES.map(kernelCase),
  kernelCase(QUANTIZED_SAMPLE),
  contractCase(
    "capabilities/unclaimed",
    "a required op or a dtype that is not claimed is refused with an UnsupportedError that names it",
    [],
    ["f32"],
    unclaimedRefuse,
  ),
  contractCase(
    "capabilities/supports",
    "supports says of every op what the manifest says",
    [],
    [],
    async ({ backend, capabilities, expect }) => {
      for (const op of allOps) {
        expect(
          backend.supports(op) === capabilities.ops.includes(op.name),
          `supports(${op.name}) contradicts the manifest`,
        );
      }
      expect(!backend.supports(twiceNegated), "supports an op that nobody wrote a kernel of");
    },
  ),
  contractCase(
    "record/fallback",
    "an op without a kernel runs by its decomposition, and the record shows both",
    [unary],
    ["f32"],
    async (test) => {
      const { backend } = test;
      backend.resetRecord();
      const x = backend.tensor([1, -2, 3]);
      const y = twiceNegated(x);
      test.expect((await y.read()).join() === "1,-2,3", "the decomposition is wrong");
      const record = backend.record();
      const own = record[twiceNegated.name];
      test.expect(own?.decomposed === 1 && own.kernel === 0, "the record hides the fallback");
      test.expect(record["unary"]?.kernel === 2, "the record hides what the fallback ran");
      backend.resetRecord();
      test.expect(Object.keys(backend.record()).length === 0, "the record was not reset");
      x.dispose();
      y.dispose();
    },
  ),
  contractCase(
    "prepare/all-ops",
    "prepare takes any list of ops, runs none of them, and they work afterwards",
    [unary],
    ["f32"],
    async (test) => {
      const { backend } = test;
      backend.resetRecord();
      await backend.prepare(allOps);
      await backend.prepare([twiceNegated, unary, unary]);
      await backend.prepare([]);
      test.expect(Object.keys(backend.record()).length === 0, "prepare ran ops");
      const x = backend.tensor([5]);
      const y = unary(x, { kind: "neg" });
      test.expect((await y.item()) === -5, "unary is wrong after prepare");
      x.dispose();
      y.dispose();
    },
  ),
  contractCase(
    "capabilities/base-dtypes",
    "f32, i32, u32 and bool tensors can be made",
    [],
    BASE_DTYPES,
    async ({ backend, expect }) => {
      for (const dtype of BASE_DTYPES) {
        const x = backend.tensor([1, 0], { dtype });
        expect((await x.read()).join() === "1,0", `${dtype} tensors are wrong`);
        x.dispose();
      }
    },
  ),
];
