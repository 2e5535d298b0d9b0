import {
  type Backend,
  DeviceLostError,
  type Tensor,
  adamW,
  add,
  matmul,
  mul,
  valueAndGrad,
} from "@moiety/core";
import type { CaseContext, ConformanceCase, Level } from "../case.ts";
import { readAll, withOutputs } from "../execute.ts";
import type { HostTensor } from "../host-tensor.ts";
import { LAYER_GRADIENT_OPS } from "./grad-fused.ts";
import { GRADIENT_OPS, weighed } from "./grad-support.ts";
import { type CaseParts, at, caseOf, constant, present, programOf } from "./l3-support.ts";
import { type RoutedHosts, type RoutedTensors, routedHosts, runLayer } from "./l4-laws.ts";
import { LAYER_OPS, type LayerOptions } from "./l4-layer-support.ts";

const OPTIONS: LayerOptions = { shape: { experts: 6, topK: 2, input: 12, inner: 7 } };

/** A backend of its own, and how its device is taken away. */
async function losable(
  test: CaseContext,
): Promise<{ readonly backend: Backend; readonly lose: () => Promise<void> }> {
  const backend = await test.createBackend();
  return {
    backend,
    lose: async () => {
      await test.loseDevice?.(backend);
    },
  };
}

const lossCase = (
  level: Level,
  what: string,
  demand: string,
  ops: CaseParts["ops"],
  run: (test: CaseContext) => Promise<void>,
): ConformanceCase =>
  caseOf(level, `device-loss/${what}`, { demand, extension: "device-loss", ops, run });

/** What a layer gives on a backend. */
async function outputsOf(
  backend: Backend,
  hosts: RoutedHosts,
): Promise<Record<string, HostTensor>> {
  const program = programOf<RoutedHosts>((given) => ({ y: runLayer(given, OPTIONS).output }));
  return withOutputs(backend, "f32", present(hosts), program, readAll);
}

const TRAINED = ["router", "up", "down"] as const;

/** Parameters and both moments, on the host: all that outlives a device. */
type Snapshot = Readonly<Record<string, HostTensor>>;

function beginning(hosts: RoutedHosts): Snapshot {
  const entries = TRAINED.flatMap((name) => [
    [name, hosts[name]] as const,
    [`${name} first`, constant(hosts[name].shape, 0)] as const,
    [`${name} second`, constant(hosts[name].shape, 0)] as const,
  ]);
  return Object.fromEntries(entries);
}

/** Some steps of training from a snapshot, and the snapshot behind them. */
async function train(
  backend: Backend,
  hosts: RoutedHosts,
  from: Snapshot,
  steps: readonly number[],
  within?: () => Promise<void>,
): Promise<Snapshot> {
  const inputs = { ...present(hosts), ...from };
  const result = await withOutputs(
    backend,
    "f32",
    inputs,
    (run) => {
      const given = run.inputs as RoutedTensors & Record<string, Tensor>;
      let state: Record<string, Tensor> = Object.fromEntries(
        Object.keys(from).map((name) => [name, at(run.inputs, name)]),
      );
      for (const step of steps) {
        const now = state;
        const params = Object.fromEntries(TRAINED.map((name) => [name, at(now, name)]));
        const { grads } = valueAndGrad((traced: Record<string, Tensor>) =>
          weighed(run, runLayer({ ...given, ...traced }, OPTIONS).output),
        )(params);
        const next = TRAINED.flatMap((name) => {
          const [p, m, v] = [at(now, name), at(now, `${name} first`), at(now, `${name} second`)];
          const rates = { learningRate: 0.05, beta1: 0.9, beta2: 0.99, epsilon: 1e-8 };
          const attributes = { ...rates, weightDecay: 0.1, step };
          const [parameter, first, second] = adamW(p, grads[name] as Tensor, m, v, attributes);
          return [
            [name, parameter],
            [`${name} first`, first],
            [`${name} second`, second],
          ] as const;
        });
        state = Object.fromEntries(next);
      }
      return state;
    },
    async (outputs) => {
      await within?.();
      return readAll(outputs);
    },
  );
  return result;
}

/** Cases of a device that goes away. */
export const deviceLossCases: readonly ConformanceCase[] = [
  lossCase(
    "L0",
    "reads-reject",
    "what was on a lost device rejects with DeviceLostError when it is read",
    [matmul],
    async (test) => {
      const { backend, lose } = await losable(test);
      const { data, shape } = test.random.normal([17, 17]);
      const x = backend.tensor(data as Float32Array, { shape });
      const y = matmul(x, x, {});
      await y.read();
      await lose();
      await test.throws(DeviceLostError, () => x.read());
      await test.throws(DeviceLostError, () => y.read());
      for (const tensor of [x, y]) tensor.dispose();
    },
  ),
  lossCase(
    "L0",
    "calls-throw",
    "once the loss is known, uploads, ops and sync fail with DeviceLostError",
    [matmul],
    async (test) => {
      const { backend, lose } = await losable(test);
      const x = backend.tensor([1, 2, 3, 4], { shape: [2, 2] });
      await lose();
      await test.throws(DeviceLostError, () => x.read());
      await test.throws(DeviceLostError, async () => backend.tensor([1, 2, 3]));
      await test.throws(DeviceLostError, async () => matmul(x, x, {}));
      await test.throws(DeviceLostError, () => backend.sync());
      x.dispose();
    },
  ),
  lossCase(
    "L0",
    "in-flight",
    "a read that is under way when the device goes settles: with its values or DeviceLostError",
    [matmul],
    async (test) => {
      const { backend, lose } = await losable(test);
      const { data, shape } = test.random.normal([64, 64]);
      const x = backend.tensor(data as Float32Array, { shape });
      const y = matmul(x, x, {});
      const settled = y.read().then(
        (values) => values.length === 64 * 64,
        (error: unknown) => error instanceof DeviceLostError,
      );
      await lose();
      test.expect(await settled, "a read under way gave neither its values nor DeviceLostError");
      for (const tensor of [x, y]) tensor.dispose();
    },
  ),
  lossCase(
    "L4",
    "recover",
    "after recover() a layer whose parameters are uploaded again gives the bits it gave before",
    LAYER_OPS,
    async (test) => {
      const hosts = await routedHosts(test, OPTIONS, 21);
      const { backend, lose } = await losable(test);
      const before = await outputsOf(backend, hosts);
      const old = backend.tensor([1, 2, 3]);
      await lose();
      await test.throws(DeviceLostError, () => outputsOf(backend, hosts));
      await backend.recover();
      const after = await outputsOf(backend, hosts);
      test.same("output after recover()", at(after, "y").data, at(before, "y").data);
      await test.throws(DeviceLostError, () => old.read());
      old.dispose();
      test.expect(
        backend.statistics().liveTensors === 0,
        "tensors are still live after all were disposed",
      );
    },
  ),
  lossCase(
    "L4",
    "training",
    "training that loses its device midway and goes on from its last snapshot ends on the same bits",
    [...GRADIENT_OPS, ...LAYER_GRADIENT_OPS],
    async (test) => {
      const hosts = await routedHosts(test, OPTIONS, 21);
      const start = beginning(hosts);
      const { backend: undisturbed } = test;
      const midway = await train(undisturbed, hosts, start, [1, 2, 3]);
      const wanted = await train(undisturbed, hosts, midway, [4, 5, 6]);
      const { backend, lose } = await losable(test);
      const kept = await train(backend, hosts, start, [1, 2, 3]);
      await test.throws(DeviceLostError, () => train(backend, hosts, kept, [4, 5], lose));
      await backend.recover();
      const got = await train(backend, hosts, kept, [4, 5, 6]);
      for (const [name, { data }] of Object.entries(wanted))
        test.same(name, at(got, name).data, data);
    },
  ),
  lossCase(
    "L0",
    "lost-again",
    "a device that came back may go and come back again",
    [matmul],
    async (test) => {
      const { backend, lose } = await losable(test);
      for (let round = 0; round < 3; round++) {
        const x = backend.tensor([1, 2, 3, 4], { shape: [2, 2] });
        const y = matmul(x, x, {});
        test.same("product", await y.read(), Float32Array.of(7, 10, 15, 22));
        await lose();
        await test.throws(DeviceLostError, () => y.read());
        for (const tensor of [x, y]) tensor.dispose();
        await backend.recover();
      }
    },
  ),
  lossCase(
    "L0",
    "values-are-new",
    "after recover() buffers hold what is written to them, not what others held before",
    [matmul],
    async (test) => {
      const { backend, lose } = await losable(test);
      const old = backend.tensor(new Float32Array(256).fill(7), { shape: [16, 16] });
      await old.read();
      await lose();
      await test.throws(DeviceLostError, () => old.read());
      await backend.recover();
      const values = test.random.dyadic([16, 16]).data as Float32Array;
      const sum = backend.scope(() => {
        const x = backend.tensor(values, { shape: [16, 16] });
        return add(x, mul(x, 0));
      });
      test.same("x + 0", await sum.read(), values);
      for (const tensor of [old, sum]) tensor.dispose();
    },
  ),
];
