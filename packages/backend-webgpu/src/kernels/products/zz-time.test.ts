import { groupedMatmul, groupedMatmulGradWeights, matmul, moeFfn, cast } from "@moiety/core";
import { it } from "vitest";
import { create } from "../../index.ts";
import { randomTensor } from "../../testing/oracle.ts";
it("time", async () => {
  const backend = await create({});
  const [H, I, E, k] = [512, 1024, 16, 2];
  const time = async (name: string, flop: number, body: () => unknown): Promise<void> => {
    backend.scope(() => { body(); });
    await backend.sync();
    const times: number[] = [];
    for (let i = 0; i < 7; i++) {
      const t = performance.now();
      backend.scope(() => { body(); });
      await backend.sync();
      times.push(performance.now() - t);
    }
    times.sort((a, b) => a - b);
    console.log(name, "min", times[0]?.toFixed(1), "median", times[3]?.toFixed(1), "ms", (flop / (times[0] ?? 1) / 1e6).toFixed(2), "GFLOP/s");
  };
  const up = randomTensor(backend, 3, [E, 2 * I, H]);
  const down = randomTensor(backend, 4, [E, H, I]);
  for (const T of [1, 8, 128]) {
    const x = randomTensor(backend, 1, [T, H]);
    const indices = backend.tensor(Int32Array.from({ length: T * k }, (_, i) => (i * 7) % E), { shape: [T, k] });
    const w = randomTensor(backend, 2, [T, k]);
    await time(`moeFfn T=${T}`, 6 * T * k * H * I, () => moeFfn(x, indices, w, up, down, undefined, undefined, undefined, { descriptor: { activation: "silu", gate: { packing: "concatenated", first: "gate" } } }));
    const rows = randomTensor(backend, 5, [T * k, H]);
    const offsets = backend.tensor(Int32Array.from({ length: E + 1 }, (_, e) => Math.floor((e * T * k) / E)));
    await time(`groupedMatmul T=${T}`, 4 * T * k * H * I, () => groupedMatmul(rows, up, offsets));
    const dy = randomTensor(backend, 6, [T * k, 2 * I]);
    await time(`gradWeights T=${T}`, 4 * T * k * H * I, () => groupedMatmulGradWeights(rows, dy, offsets));
    await time(`turned T=${T}`, 4 * T * k * H * I, () => groupedMatmul(dy, up, offsets, undefined, { transposed: true }));
    const b = randomTensor(backend, 7, [H, H]);
    await time(`matmul ${T}x512x512 transposeB`, 2 * T * H * H, () => matmul(x, b, { transposeB: true }));
    await time(`matmul ${T}x512x512`, 2 * T * H * H, () => matmul(x, b));
  }
  await backend.dispose();
}, 600000);
