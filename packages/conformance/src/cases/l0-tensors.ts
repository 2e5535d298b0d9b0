import {
  type DType,
  type HostArray,
  type Shape,
  add,
  bytesPerElement,
  hostArray,
  isFloat,
  reduce,
  sizeOf,
  unary,
} from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { type HostTensor, bytesOf, generated, hostTensor } from "../host-tensor.ts";
import { ALL_DTYPES, anyValues, contractCase } from "./l0-support.ts";

/** Every pattern of 8 and 16 bits; of wider dtypes the corners and random words. */
function everyPattern({ random }: CaseContext, dtype: DType): HostTensor {
  switch (dtype) {
    case "u8":
      return generated([256], dtype, (index) => index);
    case "f16":
    case "bf16":
      return generated([65_536], dtype, (index) => index);
    case "bool":
      return random.bools([1031]);
    case "f64":
      return random.bits([1031], dtype);
    default: {
      const corners = [
        0, 0x80000000, 1, 0x7f800000, 0xff800000, 0x7fc00001, 0x007fffff, 0xffffffff,
      ];
      const words = Uint32Array.from([...corners, ...random.bits([4096], "u32").data]);
      return { data: hostArray(dtype, words.buffer), shape: [words.length], dtype };
    }
  }
}

/** Bits with every NaN made one: backends may change a NaN's payload, but not what it is. */
function canonical(data: HostArray, dtype: DType): HostArray {
  if (isFloat(dtype)) return data.map((value) => (Number.isNaN(value) ? Number.NaN : value));
  if (dtype !== "f16" && dtype !== "bf16") return data;
  const infinity = dtype === "f16" ? 0x7c00 : 0x7f80;
  return data.map((bits) => ((bits & 0x7fff) > infinity ? 0x7fff : bits));
}

async function sameBits(
  test: CaseContext,
  name: string,
  got: HostTensor,
  wanted: HostTensor,
): Promise<void> {
  test.expect(
    got.shape.join() === wanted.shape.join() && got.dtype === wanted.dtype,
    `${name} is ${got.dtype}[${got.shape}] instead of ${wanted.dtype}[${wanted.shape}]`,
  );
  test.same(name, canonical(got.data, got.dtype), canonical(wanted.data, wanted.dtype));
}

function roundTrip(dtype: DType): ConformanceCase {
  return contractCase(
    `tensor/round-trip-${dtype}`,
    `${dtype} values come back from the device as they were, to the bit, in every pattern and shape`,
    [],
    [dtype],
    async (test) => {
      const { random } = test;
      const shapes: readonly Shape[] = [[], [0], [3, 0], [1], [3], [5, 7], [2, 3, 5], [257]];
      const given = [
        everyPattern(test, dtype),
        ...shapes.map((shape) => anyValues(random, shape, dtype)),
      ];
      const inputs = Object.fromEntries(given.map((one, index) => [`x${index}`, one]));
      const float = dtype === "f64" ? "f64" : "f32";
      const got = await test.observe(inputs, (run) => run.inputs, { float });
      for (const [name, wanted] of Object.entries(inputs)) {
        const values = got[name];
        if (values) await sameBits(test, `${name} [${wanted.shape}]`, values, wanted);
      }
    },
  );
}

/** Pieces of a length, cut at odd places and given in no order. */
function pieces(length: number): { readonly start: number; readonly end: number }[] {
  const cuts = [0, 1, 4, 9, 10, 33, 100, 101, length];
  const list = cuts.slice(1).map((end, index) => ({ start: cuts[index] ?? 0, end }));
  return [...list.slice(3), ...list.slice(0, 3).toReversed()];
}

function uploadCase(dtype: DType): ConformanceCase {
  return contractCase(
    `upload/pieces-${dtype}`,
    `a ${dtype} tensor filled piece by piece, at odd offsets and in any order, holds them all`,
    [],
    [dtype],
    async (test) => {
      const wanted = anyValues(test.random, [7, 29], dtype);
      const width = bytesPerElement(dtype);
      const bytes = bytesOf(wanted);
      const upload = test.backend.upload({ shape: wanted.shape, dtype });
      for (const { start, end } of pieces(sizeOf(wanted.shape))) {
        // A piece of the caller's own memory, which the caller may use again at once.
        const piece = bytes.slice(start * width, end * width);
        upload.write(start * width, piece);
        piece.fill(0xee);
      }
      const tensor = upload.finish();
      try {
        await sameBits(
          test,
          "upload",
          { data: await tensor.read(), shape: tensor.shape, dtype },
          wanted,
        );
      } finally {
        tensor.dispose();
      }
    },
  );
}

/** Cases of making, filling and reading tensors. */
export const tensorCases: readonly ConformanceCase[] = [
  ...[...ALL_DTYPES, "f64" as const].map(roundTrip),
  ...ALL_DTYPES.map(uploadCase),
  contractCase(
    "tensor/host-data",
    "host data is copied: what the caller does with its array later changes nothing",
    [],
    ["f32"],
    async (test) => {
      const data = Float32Array.from({ length: 1000 }, (_, index) => index);
      const wanted = data.slice();
      const tensor = test.backend.tensor(data);
      data.fill(-1);
      const first = await tensor.read();
      test.same("read", first, wanted);
      first.fill(-2);
      test.same("read again", await tensor.read(), wanted);
      tensor.dispose();
    },
  ),
  contractCase(
    "read/many-in-parallel",
    "hundreds of small reads under way at once each give their own tensor",
    [],
    ["i32"],
    async (test) => {
      const lengths = Array.from({ length: 300 }, (_, index) => 1 + (index % 7));
      const tensors = lengths.map((length, index) =>
        test.backend.tensor(new Int32Array(length).fill(index * 1000)),
      );
      const contents = await Promise.all(tensors.map((tensor) => tensor.read()));
      for (const [index, data] of contents.entries()) {
        test.same(`read ${index}`, data, new Int32Array(lengths[index] ?? 0).fill(index * 1000));
      }
      for (const tensor of tensors) tensor.dispose();
    },
  ),
  contractCase(
    "read/in-flight",
    "a read sees what ran before it, whatever runs or is disposed while it is under way",
    [unary],
    ["f32"],
    async (test) => {
      const { backend } = test;
      const reads: Promise<HostArray>[] = [];
      let current = backend.tensor(new Float32Array(513).fill(1));
      for (let step = 0; step < 40; step++) {
        const next = unary(current, { kind: "neg" });
        reads.push(next.read());
        current.dispose();
        current = next;
      }
      current.dispose();
      for (const [step, data] of (await Promise.all(reads)).entries()) {
        test.same(`step ${step}`, data, new Float32Array(513).fill(step % 2 === 0 ? -1 : 1));
      }
    },
  ),
  contractCase(
    "read/while-syncing",
    "sync and reads under way together all end, and sync ends after what was run",
    [reduce],
    ["f32"],
    async (test) => {
      const { backend } = test;
      const x = backend.tensor(new Float32Array(65_536).fill(1));
      const sums = Array.from({ length: 8 }, () => reduce(x, { kind: "sum", axes: [0] }));
      const waits = [backend.sync(), ...sums.map((sum) => sum.item()), backend.sync()];
      const values = await Promise.all(waits);
      for (const [index, value] of values.slice(1, -1).entries()) {
        test.expect(value === 65_536, `sum ${index} is ${String(value)} instead of 65536`);
      }
      for (const tensor of [x, ...sums]) tensor.dispose();
    },
  ),
  contractCase(
    "tensor/two-programs-in-flight",
    "two chains of ops that take turns do not see each other's values",
    [unary, reduce],
    ["f32"],
    async (test) => {
      const inputs = { a: test.random.normal([2, 300]), b: test.random.normal([2, 300]) };
      await test.compare(inputs, ({ inputs: { a, b } }) => {
        let [left, right] = [a, b];
        for (let step = 0; step < 10; step++) {
          left = unary(add(left, 0.5), { kind: "tanh" });
          right = unary(add(right, -0.5), { kind: "tanh" });
        }
        return { left, right };
      });
    },
  ),
  contractCase(
    "reshape/free",
    "reshape gives the same values under another shape, and allocates nothing",
    [],
    ["f32"],
    async (test) => {
      const { backend } = test;
      const x = backend.tensor(hostTensor([0, 1, 2, 3, 4, 5]).data, { shape: [2, 3] });
      const before = backend.statistics();
      const views = [x.reshape([3, 2]), x.reshape([6]), x.reshape([1, -1, 2])];
      const after = backend.statistics();
      test.expect(after.liveBuffers === before.liveBuffers, "reshape made a buffer");
      test.expect(after.liveBytes === before.liveBytes, "reshape took memory");
      x.dispose();
      test.expect(
        backend.statistics().liveBuffers === before.liveBuffers,
        "the buffer went though views still hold it",
      );
      for (const view of views) {
        test.same(`[${view.shape}]`, await view.read(), hostTensor([0, 1, 2, 3, 4, 5]).data);
        view.dispose();
      }
    },
  ),
];
