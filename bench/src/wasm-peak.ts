import type { Body } from "../../packages/backend-wasm/src/emit/body.ts";
import { Module } from "../../packages/backend-wasm/src/emit/module.ts";
import { I32 } from "../../packages/backend-wasm/src/emit/scalars.ts";
import { F32x4 } from "../../packages/backend-wasm/src/emit/vectors.ts";
import { addProducts, zeroSums } from "../../packages/backend-wasm/src/kernels/products/tile.ts";
import { fullHeight } from "../../packages/backend-wasm/src/kernels/products/tile-plan.ts";
import { probe } from "../../packages/backend-wasm/src/probe.ts";

/** What one core does in WebAssembly. */
export interface CorePeak {
  /** Whether products are added in one instruction. */
  readonly fused: boolean;
  /** GFLOP/s of independent sums in registers: the most that 128-bit vectors give. */
  readonly peak: number;
  /** GFLOP/s of the matrix products' tile, on factors in the first cache. */
  readonly tile: number;
  /** The tile's share of the peak: the median over rounds that measure both in turn. */
  readonly share: number;
  /** GB/s of reading memory that no cache holds. */
  readonly read: number;
}

/** Independent sums: more than a core's two units have on their way at a time. */
const CHAINS = 12;
const CHAIN_ROUNDS = 50_000;
/** Steps of k of the measured tile. */
const INNER = 256;
const TILE_CALLS = 200;
/** Where the tile's factors lie, apart from each other. */
const [LEFT, RIGHT, OUT] = [65_536, 131_072, 1024];
const READ_FROM = 1 << 20;
const READ_BYTES = 128 << 20;
/** Bytes that one round of the reading loop takes. */
const READ_STEP = 128;
const PAGES = (READ_FROM + READ_BYTES) / 65_536;
const ROUNDS = 25;
/** Samples of about 0.1 ms in a round, in turn: the best of each counts, since others use the core too. */
const SAMPLES = 8;
const WARM_UPS = 100;

interface PeakExports {
  chains(rounds: number): void;
  tile(calls: number): void;
  read(rounds: number): void;
}

/** Measures the core that this runs on, in well under a second once the engine has compiled. */
export async function measurePeak(fused: boolean = probe().relaxedMadd): Promise<CorePeak> {
  const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES });
  // Ones, so that no chain becomes subnormal.
  new Float32Array(memory.buffer).fill(1);
  const module = new Module(
    { initialPages: PAGES, maximumPages: PAGES, shared: false },
    { fused, relaxedDot: false },
  );
  addFunction(module, "chains", (body, rounds) => writeChains(body, rounds, fused));
  addFunction(module, "tile", writeTile);
  addFunction(module, "read", writeRead);
  const compiled = await WebAssembly.compile(module.bytes());
  const { exports } = await WebAssembly.instantiate(compiled, { env: { memory } });
  const { chains, tile, read } = exports as unknown as PeakExports;
  const tileFlops = fullHeight(fused) * 8 * INNER * 2 * TILE_CALLS;
  const chainFlops = CHAINS * 4 * (fused ? 2 : 1) * CHAIN_ROUNDS;
  // The engine compiles well only what has run a while.
  for (let call = 0; call < WARM_UPS; call++) {
    chains(CHAIN_ROUNDS);
    tile(TILE_CALLS);
  }
  const rounds = Array.from({ length: ROUNDS }, () => {
    const best = { peak: 0, tile: 0 };
    for (let sample = 0; sample < SAMPLES; sample++) {
      best.peak = Math.max(
        best.peak,
        rate(chainFlops, () => chains(CHAIN_ROUNDS)),
      );
      best.tile = Math.max(
        best.tile,
        rate(tileFlops, () => tile(TILE_CALLS)),
      );
    }
    return { ...best, share: best.tile / best.peak };
  });
  const reads = Array.from({ length: 9 }, () =>
    rate(READ_BYTES, () => read(READ_BYTES / READ_STEP)),
  );
  return {
    fused,
    peak: median(rounds.map(({ peak }) => peak)),
    tile: median(rounds.map((round) => round.tile)),
    share: median(rounds.map(({ share }) => share)),
    read: median(reads.slice(2)),
  };
}

function addFunction(
  module: Module,
  name: keyof PeakExports,
  write: (body: Body, rounds: I32) => void,
): void {
  const signature = { parameters: ["i32"] } as const;
  module.function(name, signature, (body) => write(body, body.parameter(I32, 0)), {
    exported: true,
  });
}

/** Chains in registers: sums of products, or sums and products in turn where they are not fused. */
function writeChains(body: Body, rounds: I32, fused: boolean): void {
  const sums = Array.from({ length: CHAINS }, (_, index) => body.let(F32x4.load(LEFT, index * 16)));
  const [a, b] = [body.let(F32x4.load(RIGHT)), body.let(F32x4.load(RIGHT, 16))];
  body.repeat(() => {
    for (const [index, sum] of sums.entries()) {
      const unfused = index % 2 === 0 ? sum.mul(a) : sum.add(b);
      body.set(sum, fused ? body.madd(a, b, sum) : unfused);
    }
    body.increment(rounds, -1);
    return rounds;
  });
  for (const [index, sum] of sums.entries()) body.store(OUT, sum, index * 16);
}

/** The tile of the matrix products, again and again on the same factors. */
function writeTile(body: Body, calls: I32): void {
  body.repeat(() => {
    const sums = zeroSums(body, { height: fullHeight(body.instructions.fused), panels: 1 });
    // A line apart from each other, as rows of any length but a power of two are.
    const left = sums.map((_, row) => body.int(LEFT + row * (INNER * 4 + 64)));
    addProducts(body, sums, { layout: "rows", left, right: [body.int(RIGHT)] }, body.int(INNER));
    for (const [row, vectors] of sums.entries()) {
      for (const [index, sum] of vectors.entries()) body.store(OUT, sum, row * 32 + index * 16);
    }
    body.increment(calls, -1);
    return calls;
  });
}

/** Eight sums over memory from end to end. */
function writeRead(body: Body, rounds: I32): void {
  const at = body.int(READ_FROM);
  const sums = Array.from({ length: READ_STEP / 16 }, () => body.let(F32x4.const(0)));
  body.repeat(() => {
    for (const [index, sum] of sums.entries()) {
      body.set(sum, sum.add(F32x4.load(at, index * 16)));
    }
    body.increment(at, READ_STEP);
    body.increment(rounds, -1);
    return rounds;
  });
  for (const [index, sum] of sums.entries()) body.store(OUT, sum, index * 16);
}

/** Units per nanosecond. */
function rate(units: number, run: () => void): number {
  const start = performance.now();
  run();
  return units / (performance.now() - start) / 1e6;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}
