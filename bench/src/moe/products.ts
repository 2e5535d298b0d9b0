import { type Backend, hostNormal, matmul, randomKey } from "@moiety/core";
import { productModel } from "../moe-model.ts";
import { worstError } from "../reference.ts";
import { type Row, rowOf, rounded } from "../rows.ts";
import { type CpuModel, type RuntimePackage, cpuModel } from "../runtime.ts";
import { race } from "../timing.ts";
import { PANEL, TILE_ROWS } from "../../../packages/backend-wasm/src/kernels/products/tile.ts";
import { measurePeak } from "../wasm-peak.ts";
import type { Setting } from "./setting.ts";
import { warmUp } from "./warm.ts";

const SIZE = 512;
/** The largest error, as a share of the largest value. */
const MAY_ERR = 1e-5;
const packages: readonly RuntimePackage[] = ["onnxruntime-node", "onnxruntime-web"];

/** The share of a core's peak that the tile of all products is to have. */
const TILE_SHARE = 0.85;

/** Measures the tile of all products against sums in registers, on one core. */
export async function measureTile(): Promise<Row> {
  const { fused, peak, tile, share } = await measurePeak();
  const name = `tile ${TILE_ROWS} × ${PANEL} × 256, one core`;
  return rowOf(name, (2 * TILE_ROWS * PANEL * 256) / tile / 1e6, null, null, {
    fused,
    gflops: rounded(tile),
    coreGflops: rounded(peak),
    share: rounded(share),
    shareGoal: TILE_SHARE,
  });
}

/** Times a plain product of square matrices, whose second is a weight that stays. */
export async function measureProduct(setting: Setting, backend: Backend): Promise<Row[]> {
  const [a, b] = [1, 2].map((seed) =>
    Float32Array.from(hostNormal(randomKey(seed), SIZE * SIZE)),
  ) as [Float32Array, Float32Array];
  const shape = [SIZE, SIZE];
  const weight = backend.tensor(b, { shape });
  const ours = async (): Promise<Float32Array> => {
    const y = backend.scope(() => matmul(backend.tensor(a, { shape }), weight));
    const values = await y.read();
    y.dispose();
    return values as Float32Array;
  };
  const peers: CpuModel[] = [];
  for (const name of setting.peers ? packages : []) {
    // oxlint-disable-next-line no-await-in-loop -- one at a time
    peers.push(await cpuModel(name, productModel(SIZE, b), setting.threads));
  }
  const runs = [ours, ...peers.map((peer) => () => peer.run(a, shape))];
  const wanted = productOf(a, b);
  for (const run of runs) {
    // oxlint-disable-next-line no-await-in-loop -- one at a time
    const error = worstError(wanted, await run());
    if (!(error <= MAY_ERR)) throw new Error(`a product is off by ${rounded(error)}`);
  }
  await warmUp(runs);
  const [timing, ...theirs] = await race(
    runs.map((run) => ({ run })),
    setting.patience,
  );
  if (timing === undefined) throw new Error("nothing was timed");
  const name = `matmul ${SIZE} × ${SIZE} × ${SIZE}`;
  const bytes = 3 * SIZE * SIZE * Float32Array.BYTES_PER_ELEMENT;
  const more = {
    operations: 2 * SIZE ** 3,
    bytes,
    samples: timing.samples,
  };
  for (const peer of peers) {
    // oxlint-disable-next-line no-await-in-loop -- one at a time
    await peer.dispose();
  }
  weight.dispose();
  if (peers.length === 0) return [rowOf(name, timing.median, null, null, more)];
  return peers.map((peer, index) =>
    rowOf(name, timing.median, peer.name, theirs[index]?.median ?? null, more),
  );
}

function productOf(a: Float32Array, b: Float32Array): Float64Array {
  const result = new Float64Array(SIZE * SIZE);
  for (let row = 0; row < SIZE; row++) {
    for (let k = 0; k < SIZE; k++) {
      const factor = a[row * SIZE + k] ?? 0;
      for (let column = 0; column < SIZE; column++) {
        const place = row * SIZE + column;
        result[place] = (result[place] ?? 0) + factor * (b[k * SIZE + column] ?? 0);
      }
    }
  }
  return result;
}
