import {
  ConfigError,
  ShapeError,
  type Tensor,
  UseAfterDisposeError,
  binary,
  donate,
  iota,
  unary,
  writeSlice,
} from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { contractCase } from "./l0-support.ts";

const negated = (x: Tensor): Tensor => unary(x, { kind: "neg" });

async function scopesFree(test: CaseContext): Promise<void> {
  const { backend } = test;
  const before = backend.statistics();
  const kept = backend.scope(() => {
    const x = backend.tensor([1, 2, 3]);
    const deep = backend.scope(() => ({ list: [negated(negated(x))] }));
    negated(x);
    return { deep, map: new Map([["x", negated(x)]]) };
  });
  const tensors = [...kept.deep.list, ...kept.map.values()];
  const during = backend.statistics();
  test.expect(
    during.liveTensors === before.liveTensors + 2,
    `a scope kept ${during.liveTensors - before.liveTensors} tensors, not the 2 that it returned`,
  );
  test.expect(
    during.liveBuffers <= before.liveBuffers + 2,
    `${during.liveBuffers - before.liveBuffers} buffers are live for 2 tensors`,
  );
  const values = await Promise.all(tensors.map((tensor) => tensor.read()));
  test.expect(values.join(";") === "1,2,3;-1,-2,-3", `a scope returned ${values.join(";")}`);
  for (const tensor of tensors) tensor.dispose();
}

/** Cases of scopes, disposal and donation. */
export const lifecycleCases: readonly ConformanceCase[] = [
  contractCase(
    "scope/frees",
    "a scope frees all buffers but those of what it returns, however deep it stands there",
    [unary],
    ["f32"],
    scopesFree,
  ),
  contractCase(
    "scope/after-an-error",
    "a scope that ends with an error frees everything, and the backend goes on",
    [unary],
    ["f32"],
    async (test) => {
      const { backend } = test;
      const before = backend.statistics();
      const boom = new RangeError("the case's own");
      const thrown = await test.throws(RangeError, () =>
        backend.scope(() => {
          backend.scope(() => negated(backend.tensor([1, 2])));
          throw boom;
        }),
      );
      test.expect(thrown === boom, "a scope changed the error");
      const after = backend.statistics();
      test.expect(after.liveBuffers === before.liveBuffers, "buffers of the scope are still live");
      const x = backend.tensor([4]);
      const y = negated(x);
      test.expect((await y.item()) === -4, "the backend is wrong after an error in a scope");
      x.dispose();
      y.dispose();
    },
  ),
  contractCase(
    "scope/synchronous",
    "a scope refuses promises and unfinished generators, and frees what they made",
    [unary],
    ["f32"],
    async (test) => {
      const { backend } = test;
      const before = backend.statistics();
      await test.throws(ConfigError, () =>
        backend.scope(async () => void negated(backend.tensor([1]))),
      );
      await test.throws(ConfigError, () =>
        backend.scope(function* () {
          yield negated(backend.tensor([1]));
        }),
      );
      test.expect(
        backend.statistics().liveBuffers === before.liveBuffers,
        "buffers of a refused scope are still live",
      );
    },
  ),
  contractCase(
    "dispose/tensor",
    "disposing a tensor twice is harmless; using it afterwards is a UseAfterDisposeError",
    [unary, binary],
    ["f32"],
    async (test) => {
      const { backend } = test;
      const before = backend.statistics();
      const x = backend.tensor([1, 2]);
      const other = backend.tensor([3, 4]);
      x.dispose();
      x.dispose();
      test.expect(x.disposed, "a disposed tensor does not say so");
      await test.throws(UseAfterDisposeError, () => negated(x));
      await test.throws(UseAfterDisposeError, () => binary(other, x, { kind: "add" }));
      await test.throws(UseAfterDisposeError, () => x.read());
      await test.throws(UseAfterDisposeError, () => x.reshape([2, 1]));
      await test.throws(UseAfterDisposeError, () => donate(x));
      test.expect((await other.read()).join() === "3,4", "a neighbour changed");
      other.dispose();
      test.expect(
        backend.statistics().liveBuffers === before.liveBuffers,
        "buffers are still live after their tensors were disposed",
      );
    },
  ),
  contractCase(
    "donation/in-place",
    "a donated tensor is dead, its op's result is right, and no donation is refused that need not be",
    [unary, binary, writeSlice],
    ["f32"],
    async (test) => {
      const { backend } = test;
      const before = backend.statistics();
      const x = backend.tensor([1, 2, 3]);
      const y = negated(donate(x));
      await test.throws(UseAfterDisposeError, () => negated(x));
      const one = backend.tensor([1, 1, 1]);
      const z = binary(donate(y), one, { kind: "sub" });
      const update = backend.tensor([9]);
      const written = writeSlice(donate(z), update, { starts: [1] });
      test.expect((await written.read()).join() === "-2,9,-4", "a chain of donations is wrong");
      const after = backend.statistics();
      test.expect(
        after.refusedDonations === before.refusedDonations,
        "a donation was refused though nothing else held the buffer",
      );
      for (const tensor of [one, update, written]) tensor.dispose();
    },
  ),
  contractCase(
    "donation/refused",
    "a donated buffer that something else still holds is copied and counted: the other stays as it was",
    [unary, binary, writeSlice],
    ["f32"],
    async (test) => {
      const { backend } = test;
      const before = backend.statistics();
      const x = backend.tensor([1, 2, 3, 4]);
      const view = x.reshape([2, 2]);
      const update = backend.tensor([7, 7]);
      const written = writeSlice(donate(x), update, { starts: [0] });
      test.expect((await written.read()).join() === "7,7,3,4", "the copy is wrong");
      test.expect((await view.read()).join() === "1,2,3,4", "a view of a donated buffer changed");
      const twice = donate(view);
      const doubled = binary(twice, twice, { kind: "add" });
      test.expect((await doubled.read()).join() === "2,4,6,8", "a buffer donated twice is wrong");
      const refused = backend.statistics().refusedDonations - before.refusedDonations;
      test.expect(refused >= 1, "the refused donation was not counted");
      for (const tensor of [update, written, doubled]) tensor.dispose();
    },
  ),
  contractCase(
    "donation/read-under-way",
    "a read that is under way keeps its values though the tensor is donated and written meanwhile",
    [writeSlice],
    ["f32"],
    async (test) => {
      const { backend } = test;
      const x = backend.tensor(new Float32Array(4096).fill(1));
      const update = backend.tensor(new Float32Array(4096).fill(2));
      const reading = x.read();
      const written = writeSlice(donate(x), update, { starts: [0] });
      test.same("read before", await reading, new Float32Array(4096).fill(1));
      test.same("read after", await written.read(), new Float32Array(4096).fill(2));
      update.dispose();
      written.dispose();
    },
  ),
  contractCase(
    "statistics/up-and-down",
    "live buffers and bytes go up with what is made and down to what they were",
    [iota],
    ["f32"],
    async (test) => {
      const { backend } = test;
      const before = backend.statistics();
      const tensors = [
        backend.tensor(new Float32Array(1000)),
        iota(backend, { shape: [2000], axis: 0, dtype: "f32" }),
      ];
      const during = backend.statistics();
      const bytes = during.liveBytes - before.liveBytes;
      test.expect(
        during.liveBuffers > before.liveBuffers && during.liveBuffers <= before.liveBuffers + 2,
        `2 tensors count as ${during.liveBuffers - before.liveBuffers} buffers`,
      );
      test.expect(bytes >= 12_000, `12 000 bytes of tensors count as ${bytes}`);
      test.expect(during.peakBytes >= during.liveBytes, "the peak is below what is live");
      for (const tensor of tensors) tensor.dispose();
      const after = backend.statistics();
      test.expect(after.liveBuffers === before.liveBuffers, "buffers stayed live");
      test.expect(after.liveBytes === before.liveBytes, "bytes stayed live");
      test.expect(after.peakBytes >= during.liveBytes, "the peak was forgotten");
    },
  ),
  contractCase(
    "statistics/steady",
    "a step that is run again and again holds the same number of buffers after each",
    [unary, binary],
    ["f32"],
    async (test) => {
      const { backend } = test;
      const counts: number[] = [];
      let state = backend.tensor(new Float32Array(100));
      for (let step = 0; step < 10; step++) {
        const next = backend.scope(() =>
          binary(negated(state), undefined, { kind: "add", scalar: 1 }),
        );
        state.dispose();
        state = next;
        await state.read();
        counts.push(backend.statistics().liveBuffers);
      }
      state.dispose();
      test.expect(new Set(counts).size === 1, `live buffers per step: ${counts.join()}`);
    },
  ),
  contractCase(
    "errors/refused-call",
    "a call that is refused leaves its inputs alive and nothing new behind",
    [unary, binary],
    ["f32", "i32"],
    async (test) => {
      const { backend } = test;
      const x = backend.tensor([1, 2, 3]);
      const short = backend.tensor([1, 2]);
      const before = backend.statistics();
      await test.throws(ShapeError, () => binary(x, short, { kind: "add" }));
      await test.throws(ShapeError, () => x.reshape([2, 2]));
      await test.throws(ShapeError, () => backend.tensor([1, 2, 3], { shape: [2] }));
      await test.throws(ConfigError, () => unary(x, { kind: "none" as "neg" }));
      const after = backend.statistics();
      test.expect(after.liveTensors === before.liveTensors, "a refused call left tensors behind");
      test.expect(after.liveBuffers === before.liveBuffers, "a refused call left buffers behind");
      test.expect((await x.read()).join() === "1,2,3", "a refused call changed its input");
      x.dispose();
      short.dispose();
    },
  ),
];
