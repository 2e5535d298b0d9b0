import { I32 } from "../../../packages/backend-wasm/src/emit/scalars.ts";
import { F32x4, I16x8, I8x16 } from "../../../packages/backend-wasm/src/emit/vectors.ts";
import { startLife } from "../../../packages/backend-wasm/src/life.ts";
import { probe } from "../../../packages/backend-wasm/src/probe.ts";
import { defineRoutine } from "../../../packages/backend-wasm/src/routine.ts";
import { type Row, rounded } from "../rows.ts";

/** What the machine does at most, measured in WebAssembly on all threads of the setting. */
export interface Bounds {
  /** Floating-point operations in a second: products that are added, from registers to registers. */
  readonly flops: number;
  /** Operations in a second on bytes: products that are added in 16 bits. */
  readonly byteOps: number;
  /** Bytes in a second that are read from memory beyond the caches. */
  readonly bytes: number;
}

/** Work, as far as it bounds a time: keys of a row. */
export interface Cost {
  readonly operations: number;
  readonly bytes: number;
}

/** Independent sums: more than the latency of an addition hides. */
const SUMS = 12;
const ROUNDS = 100_000;
const LANES = 4;
/** Products of bytes of one instruction. */
const BYTE_LANES = 16;
/** Tasks of each thread: cores are not always equally quick. */
const TASKS = 16;
/** From one task's result to the next: stored, so that the engine has to compute it. */
const RESULT_BYTES = 64;
/** More than a cache holds, and how much of it a task reads. */
const STREAM_BYTES = 2 ** 28;
const STRETCH_BYTES = 2 ** 22;
const STEP_BYTES = 128;
/** Runs, of which the best counts. */
const RUNS = 7;
const PATIENCE = 30_000;

/** Measures {@link Bounds}. */
export async function measureBounds(threads: number): Promise<Bounds> {
  const { relaxedMadd, relaxedDot } = probe();
  const settings = {
    threads,
    threadsNote: undefined,
    fused: relaxedMadd,
    relaxedDot,
    memoryLimit: Number.POSITIVE_INFINITY,
    patience: PATIENCE,
  };
  const { host, team } = await startLife(settings, 0, [multiply, multiplyBytes, stream]);
  const { address } = host.allocate(STREAM_BYTES);
  new Uint8Array(host.view.buffer, address, STREAM_BYTES).fill(0);
  const time = (routine: typeof multiply, tasks: number): number => {
    let best = Number.POSITIVE_INFINITY;
    for (let run = 0; run < RUNS; run++) {
      const start = performance.now();
      host.launch(routine, { from: address }, tasks);
      host.settle();
      best = Math.min(best, (performance.now() - start) / 1000);
    }
    return best;
  };
  const tasks = TASKS * threads;
  const perLane = settings.fused ? 2 : 1;
  const flops = (perLane * LANES * SUMS * ROUNDS * tasks) / time(multiply, tasks);
  const byteOps = (2 * BYTE_LANES * SUMS * ROUNDS * tasks) / time(multiplyBytes, tasks);
  const bytes = STREAM_BYTES / time(stream, STREAM_BYTES / STRETCH_BYTES);
  await team.stop();
  return { flops, byteOps, bytes };
}

/** The higher of two measurements: a bound is what nothing disturbs. */
export function bestOf(a: Bounds, b: Bounds): Bounds {
  return {
    flops: Math.max(a.flops, b.flops),
    byteOps: Math.max(a.byteOps, b.byteOps),
    bytes: Math.max(a.bytes, b.bytes),
  };
}

/** The times that a cost takes at least, in milliseconds. */
export function leastTimes(
  { flops, bytes }: Pick<Bounds, "flops" | "bytes">,
  cost: Cost,
): { readonly byFlops: number; readonly byBytes: number } {
  return { byFlops: (cost.operations / flops) * 1000, byBytes: (cost.bytes / bytes) * 1000 };
}

/** A row with what bounds it, the time that the bound allows, and how much of it is reached. */
export function withBound(row: Row, bounds: Pick<Bounds, "flops" | "bytes">): Row {
  const { operations, bytes, oursMs } = row;
  if (typeof operations !== "number" || typeof bytes !== "number") return row;
  const { byFlops, byBytes } = leastTimes(bounds, { operations, bytes });
  const boundMs = Math.max(byFlops, byBytes);
  return {
    ...row,
    gflops: rounded(operations / oursMs / 1e6),
    bound: byFlops >= byBytes ? "FLOPs" : "bytes",
    boundMs: rounded(boundMs),
    share: rounded(boundMs / oursMs),
  };
}

/**
 * A row of a process that measured {@link Bounds}, with them. Where its key `rounded` is true, its
 * operations are products of bytes.
 */
export function withBounds(row: Row, bounds: Bounds, threads: number): Row {
  const flops = row["rounded"] === true ? bounds.byteOps : bounds.flops;
  return {
    ...withBound(row, { flops, bytes: bounds.bytes }),
    threads,
    node: process.versions.node,
    peakGflops: Math.round(bounds.flops / 1e9),
    peakByteGops: Math.round(bounds.byteOps / 1e9),
    peakGBs: rounded(bounds.bytes / 1e9),
  };
}

const multiply = defineRoutine("multiply", { from: I32 }, (body, { from }, task) => {
  const sums = Array.from({ length: SUMS }, () => body.let(F32x4.const(0)));
  const factor = body.let(F32x4.load(from));
  body.for(0, ROUNDS, 1, () => {
    for (const [index, sum] of sums.entries()) {
      const apart = index % 2 === 0 ? sum.mul(factor) : sum.add(factor);
      body.set(sum, body.instructions.fused ? body.madd(factor, factor, sum) : apart);
    }
  });
  body.store(from.add(task.add(1).mul(RESULT_BYTES)), totalOf(sums));
});

// The left factors are read again each time: of equal ones the engine would compute one product.
const multiplyBytes = defineRoutine("multiplyBytes", { from: I32 }, (body, { from }, task) => {
  const sums = Array.from({ length: SUMS }, () => body.let(I16x8.splat(0)));
  const factor = body.let(I8x16.load(from));
  body.for(0, ROUNDS, 1, () => {
    for (const [index, sum] of sums.entries()) {
      const other = I8x16.load(from, index * BYTE_LANES);
      body.set(sum, sum.add(body.dotPairs(other, factor)));
    }
  });
  const total = sums.reduce((left, right) => left.add(right));
  body.store(from.add(task.add(SUMS).mul(RESULT_BYTES)), total);
});

const stream = defineRoutine("stream", { from: I32 }, (body, { from }, task) => {
  const width = 16;
  const sums = Array.from({ length: STEP_BYTES / width }, () => body.let(F32x4.const(0)));
  const begin = body.let(from.add(task.mul(STRETCH_BYTES)));
  const end = body.let(begin.add(STRETCH_BYTES));
  body.for(begin, end, STEP_BYTES, (address) => {
    for (const [place, sum] of sums.entries()) {
      body.set(sum, sum.add(F32x4.load(address, place * width)));
    }
  });
  body.store(begin, totalOf(sums));
});

function totalOf(sums: readonly F32x4[]): F32x4 {
  return sums.reduce((total, sum) => total.add(sum));
}
