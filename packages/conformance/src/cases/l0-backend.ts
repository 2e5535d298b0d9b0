import {
  type Backend,
  ConfigError,
  OutOfMemoryError,
  type Tensor,
  UseAfterDisposeError,
  binary,
  fill,
  iota,
  reduce,
  slice,
  unary,
} from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { contractCase } from "./l0-support.ts";

const negated = (x: Tensor): Tensor => unary(x, { kind: "neg" });

/** Every method of a disposed backend. */
const AFTER_DISPOSE: readonly (readonly [string, (backend: Backend) => unknown])[] = [
  ["tensor", (backend) => backend.tensor([1])],
  ["upload", (backend) => backend.upload({ shape: [1], dtype: "f32" })],
  ["scope", (backend) => backend.scope(() => 1)],
  ["sync", (backend) => backend.sync()],
  ["prepare", (backend) => backend.prepare([unary])],
  ["recover", (backend) => backend.recover()],
  ["an op", (backend) => fill(backend, { shape: [1], value: 0, dtype: "f32" })],
];

async function useAfterDispose(test: CaseContext): Promise<void> {
  const backend = await test.createBackend();
  const x = backend.tensor([1, 2]);
  await backend.dispose();
  await backend.dispose();
  for (const [name, use] of AFTER_DISPOSE) {
    const error = await test.throws(UseAfterDisposeError, () => use(backend));
    test.expect(error.message !== "", `${name} after dispose throws without a message`);
  }
  await test.throws(UseAfterDisposeError, () => x.read());
  await test.throws(UseAfterDisposeError, () => negated(x));
  // What holds no device any more must still let go.
  x.dispose();
  backend.record();
  backend.resetRecord();
}

async function sideBySide(test: CaseContext): Promise<void> {
  const { backend: first } = test;
  const second = await test.createBackend();
  test.expect(first !== second, "createBackend gives the same backend twice");
  const [a, b] = [first.tensor([1, 2, 3]), second.tensor([10, 20, 30])];
  const [beforeFirst, beforeSecond] = [first.statistics(), second.statistics()];
  await test.throws(ConfigError, () => binary(a, b, { kind: "add" }));
  await test.throws(ConfigError, () => binary(b, a, { kind: "add" }));
  const results = [negated(a), negated(b), negated(a), negated(b)];
  const values = await Promise.all(results.map((result) => result.read()));
  test.expect(
    values.join(";") === "-1,-2,-3;-10,-20,-30;-1,-2,-3;-10,-20,-30",
    `two backends in turns gave ${values.join(";")}`,
  );
  test.expect(results[0]?.backend === first, "a result lives on another backend than its input");
  for (const result of results) result.dispose();
  test.expect(
    first.statistics().liveBuffers === beforeFirst.liveBuffers &&
      second.statistics().liveBuffers === beforeSecond.liveBuffers,
    "buffers of two backends are counted together",
  );
  await second.dispose();
  const after = negated(a);
  test.expect((await after.read()).join() === "-1,-2,-3", "one backend's end broke another");
  a.dispose();
  after.dispose();
}

async function independent(test: CaseContext): Promise<void> {
  const backends = await Promise.all([test.createBackend(), test.createBackend()]);
  const sums = backends.map((backend, index) => {
    const x = backend.tensor(new Float32Array(1000).fill(index + 1));
    return reduce(x, { kind: "sum", axes: [0] });
  });
  const values = await Promise.all(sums.map((sum) => sum.item()));
  test.expect(values.join() === "1000,2000", `two new backends at once gave ${values.join()}`);
  for (const backend of backends) await backend.dispose();
}

/** More elements than 65 535 workgroups of 256 invocations, one element each, would reach. */
const MANY_ELEMENTS = 65_535 * 256 + 5;

async function manyElements(test: CaseContext): Promise<void> {
  const got = await test.observe({}, ({ backend }) => {
    const counted = iota(backend, { shape: [MANY_ELEMENTS], axis: 0, dtype: "i32" });
    return {
      last: slice(counted, { starts: [MANY_ELEMENTS - 5], sizes: [5] }),
      middle: slice(counted, { starts: [8_388_600], sizes: [16] }),
      largest: reduce(counted, { kind: "max", axes: [0] }),
      sum: reduce(counted, { kind: "sum", axes: [0] }),
    };
  });
  const from = (start: number, count: number): Int32Array =>
    Int32Array.from({ length: count }, (_, index) => start + index);
  test.same("last", got.last.data, from(MANY_ELEMENTS - 5, 5));
  test.same("middle", got.middle.data, from(8_388_600, 16));
  test.same("largest", got.largest.data, from(MANY_ELEMENTS - 1, 1));
  const sum = Number(BigInt.asIntN(32, (BigInt(MANY_ELEMENTS) * BigInt(MANY_ELEMENTS - 1)) / 2n));
  test.same("sum", got.sum.data, Int32Array.of(sum));
}

async function memoryEnds(test: CaseContext): Promise<void> {
  const { backend, capabilities } = test;
  const { totalBytes = 0 } = capabilities.limits;
  const before = backend.statistics();
  const elements = Math.ceil(totalBytes / 4) + 1;
  const error = await test.throws(OutOfMemoryError, async () => {
    const x = fill(backend, { shape: [elements], value: 1, dtype: "f32" });
    try {
      await backend.sync();
      await slice(x, { starts: [elements - 1], sizes: [1] }).read();
    } finally {
      x.dispose();
    }
  });
  test.expect(
    error instanceof OutOfMemoryError && error.bytes >= elements * 4,
    "the error does not say how many bytes were asked for",
  );
  const after = backend.statistics();
  test.expect(after.liveBuffers === before.liveBuffers, "a refused allocation left a buffer");
  const x = backend.tensor([1, 2]);
  const y = negated(x);
  test.expect(
    (await y.read()).join() === "-1,-2",
    "the backend is wrong after it ran out of memory",
  );
  x.dispose();
  y.dispose();
}

/** Cases of the backend as a whole. */
export const backendCases: readonly ConformanceCase[] = [
  contractCase(
    "backend/dispose",
    "disposing twice is harmless; every later use is a UseAfterDisposeError",
    [unary, fill],
    ["f32"],
    useAfterDispose,
  ),
  contractCase(
    "backend/side-by-side",
    "two backends keep their tensors, counts and ends to themselves",
    [unary, binary],
    ["f32"],
    sideBySide,
  ),
  contractCase(
    "backend/made-at-once",
    "backends made and used at the same time do not disturb one another",
    [reduce],
    ["f32"],
    independent,
  ),
  contractCase(
    "backend/foreign",
    "an op refuses what is no backend or no tensor of this library with a ConfigError",
    [unary, fill],
    ["f32"],
    async (test) => {
      const imitation = { ...test.backend } as Backend;
      await test.throws(ConfigError, () => fill(imitation, { shape: [1], value: 0, dtype: "f32" }));
      const x = test.backend.tensor([1]);
      const copy = { shape: x.shape, dtype: x.dtype, backend: test.backend } as unknown as Tensor;
      await test.throws(ConfigError, () => negated(copy));
      x.dispose();
    },
  ),
  contractCase(
    "backend/description",
    "name, version of the contract and manifest are there and do not change",
    [],
    [],
    async (test) => {
      const { backend, capabilities } = test;
      test.expect(backend.specVersion === 1, `specVersion is ${String(backend.specVersion)}`);
      const other = await test.createBackend();
      const shown = (one: Backend): string => {
        const { details: _, ...manifest } = one.capabilities;
        return JSON.stringify([one.name, manifest]);
      };
      test.expect(
        shown(other) === shown(backend),
        "two backends of one kind claim different things",
      );
      test.expect(backend.capabilities === capabilities, "the manifest is made anew when asked");
      await other.dispose();
    },
  ),
  {
    ...contractCase(
      "limits/many-elements",
      "tensors of more elements than one dimension of a dispatch has invocations are reached whole",
      [iota, slice, reduce],
      ["i32"],
      manyElements,
    ),
    heavy: true,
    unsupported: tooSmall,
  },
  {
    ...contractCase(
      "limits/total-bytes",
      "an allocation beyond limits.totalBytes is an OutOfMemoryError, after which the backend goes on",
      [fill, slice, unary],
      ["f32"],
      memoryEnds,
    ),
    unsupported: ({ limits, dtypes }) => {
      if (!dtypes.includes("f32")) return "the manifest has no f32";
      return limits.totalBytes === undefined ? "the manifest has no limits.totalBytes" : undefined;
    },
  },
];

function tooSmall({ limits, dtypes }: Backend["capabilities"]): string | undefined {
  if (!dtypes.includes("i32")) return "the manifest has no i32";
  const { totalBytes = Number.POSITIVE_INFINITY } = limits;
  return totalBytes < MANY_ELEMENTS * 12 ? "limits.totalBytes is too small for it" : undefined;
}
