import { type Tensor, groupedMatmul, groupedMatmulGradWeights, matmul } from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { acquireDevice } from "../../adapter.ts";
import { driverOf } from "../../index.ts";
import { readOptions } from "../../options.ts";
import { requireWebGpu } from "../../testing/adapter.ts";
import { type Pair, type TestProgram, createPair, randomTensor } from "../../testing/oracle.ts";

const gpu = await requireWebGpu();
const PATIENCE = { timeout: 180_000 };

/** Wide enough for tiles of many rows, and no multiple of anything. */
const [ROWS, INNER, COLUMNS] = [37, 150, 261];

describe.skipIf(!gpu.available)("products whose lanes share the left side", PATIENCE, () => {
  let shared: Pair;
  let alone: Pair;
  beforeAll(async () => {
    shared = await createPair({ tiling: "registers", debug: false });
    alone = await createPair({ tiling: "registers", debug: false, features: [] });
  });
  afterAll(() => Promise.all([shared.dispose(), alone.dispose()]));

  /** What both compute, which is right. */
  const bothOf = async (program: TestProgram): Promise<readonly [unknown, unknown]> => {
    await shared.agree(program, 1e-5);
    const read = (pair: Pair): Promise<unknown> => (program(pair.gpu) as Tensor).read();
    return [await read(shared), await read(alone)];
  };

  it("are there where subgroups have one size", async () => {
    const info = (await gpu.adapter()).info;
    const one = info.subgroupMinSize === info.subgroupMaxSize;
    expect(driverOf(shared.gpu)?.context.subgroupSize).toBe(one ? info.subgroupMinSize : 0);
    expect(driverOf(alone.gpu)?.context.subgroupSize).toBe(0);
  });

  it("are not there where the size of subgroups varies", async () => {
    const device = await gpu.device();
    const given = (subgroupMinSize: number, subgroupMaxSize: number): GPUDevice =>
      ({
        limits: device.limits,
        features: new Set(["subgroups"]),
        adapterInfo: { vendor: "some", subgroupMinSize, subgroupMaxSize },
      }) as unknown as GPUDevice;
    const sizeOf = async (least: number, most: number): Promise<number> =>
      (await acquireDevice(readOptions({ device: given(least, most) }))).context.subgroupSize;
    expect(await sizeOf(32, 32)).toBe(32);
    expect(await sizeOf(8, 32)).toBe(0);
    device.destroy();
  });

  it.each([
    [false, false],
    [false, true],
    [true, false],
    [true, true],
  ])("have the bits of products that do not: %s, %s", async (transposeA, transposeB) => {
    for (const rows of [3, ROWS]) {
      const [together, apart] = await bothOf((backend) =>
        matmul(
          randomTensor(backend, 1, transposeA ? [INNER, rows] : [rows, INNER]),
          randomTensor(backend, 2, transposeB ? [COLUMNS, INNER] : [INNER, COLUMNS]),
          { transposeA, transposeB },
        ),
      );
      expect(together).toEqual(apart);
    }
  });

  it.each([false, true])("keep the bits in groups, transposed: %s", async (transposed) => {
    const offsets = Int32Array.from([2, 2, 20, 36]);
    const [together, apart] = await bothOf((backend) =>
      groupedMatmul(
        randomTensor(backend, 1, [ROWS, INNER]),
        randomTensor(backend, 2, transposed ? [3, INNER, COLUMNS] : [3, COLUMNS, INNER]),
        backend.tensor(offsets),
        undefined,
        { transposed },
      ),
    );
    expect(together).toEqual(apart);
  });

  it("keep the bits in gradients of weights", async () => {
    const offsets = Int32Array.from([0, 70, 70, 99]);
    const [together, apart] = await bothOf((backend) =>
      groupedMatmulGradWeights(
        randomTensor(backend, 1, [100, COLUMNS]),
        randomTensor(backend, 2, [100, 44]),
        backend.tensor(offsets),
        undefined,
        {},
      ),
    );
    expect(together).toEqual(apart);
  });

  it("go on with the sums of a piece before", async () => {
    const options = { tiling: "registers", segmentBytes: 65_536, limits: "default" } as const;
    const pieces = await createPair(options);
    const program: TestProgram = (backend) =>
      matmul(randomTensor(backend, 1, [20, 700]), randomTensor(backend, 2, [700, COLUMNS]), {});
    expect(await pieces.agree(program, 1e-5)).toBeUndefined();
    const [piecewise, whole] = [program(pieces.gpu), program(shared.gpu)] as [Tensor, Tensor];
    expect(await piecewise.read()).toEqual(await whole.read());
    await pieces.dispose();
  });
});
