import { DeviceLostError, UnsupportedError } from "@moiety/core";
import { afterEach, describe, expect, it, vi } from "vitest";
import { F32, I32 } from "./emit/scalars.ts";
import { CONTROL } from "./library.ts";
import type { Life } from "./life.ts";
import type { NodeThreads } from "./platform.ts";
import { type Routine, defineRoutine } from "./routine.ts";
import { countTasks, discountTasks, meet, meeting, startWith } from "./testing/life.ts";
import { replaceWorker, watchWorkers } from "./testing/workers.ts";

const lives: Life[] = [];
const start = async (
  routines: readonly Routine[],
  threads: number,
  patience?: number,
): Promise<Life> => {
  const life = await startWith(routines, { threads, patience });
  lives.push(life);
  return life;
};

afterEach(async () => {
  vi.restoreAllMocks();
  await Promise.all(lives.splice(0).map(({ team }) => team.stop()));
});

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** What a call throws. */
function thrown(run: () => void): Error {
  try {
    run();
  } catch (error) {
    return error as Error;
  }
  throw new Error("nothing was thrown");
}

/** Rows of pseudo-random numbers, added up: a sum whose bits depend on its order. */
const sums = defineRoutine(
  "sums",
  { to: I32, length: I32, scale: F32 },
  (body, { to, length, scale }, task) => {
    const seed = body.let(task.mul(747_796_405).add(1));
    const sum = body.let(F32.const(0));
    body.for(0, length, 1, () => {
      body.set(seed, seed.mul(1_664_525).add(1_013_904_223));
      body.set(sum, sum.add(seed.toF32().mul(scale)));
    });
    body.store(to.add(task.shl(2)), sum);
  },
);

describe("a team", () => {
  it.each([1, 2, 3, 4])("runs every task once, with %i threads", async (threads) => {
    const { memory, host, team } = await start([countTasks], threads);
    expect(team.threads).toBe(threads);
    for (const tasks of [0, 1, 2, 3, 7, 64, 1000, 100_000]) {
      const { address, byteLength } = memory.allocate(4 * tasks + 4);
      memory.bytes.fill(0, address, address + byteLength);
      host.launch(countTasks, { to: address, by: 1 }, tasks);
      const words = new Uint32Array(host.view.buffer, address, tasks + 1);
      expect(words[0]).toBe(tasks);
      expect(words.subarray(1).every((count) => count === 1)).toBe(true);
      // Closed, so that nobody enters it any more.
      const shared = threads > 1 && tasks > 1;
      if (shared) expect(host.view.getInt32(CONTROL.entered, true)).toBeLessThan(0);
    }
  });

  it("computes the same bits with any number of threads", async () => {
    const outputs = await Promise.all(
      [1, 2, 3, 4].map(async (threads) => {
        const { memory, host } = await start([sums], threads);
        const { address } = memory.allocate(4 * 500);
        host.launch(sums, { to: address, length: 2000, scale: 1.1e-7 }, 500);
        return new Uint8Array(host.view.buffer).slice(address, address + 2000).join();
      }),
    );
    expect(new Set(outputs).size).toBe(1);
    expect(outputs[0]).not.toMatch(/^[0,]*$/);
  });

  it.each([2, 3])("does 10 000 tiny jobs with %i threads", async (threads) => {
    const { memory, host } = await start([countTasks, discountTasks], threads);
    const [up, down] = [memory.allocate(64).address, memory.allocate(64).address];
    memory.bytes.fill(0, up, up + 64);
    memory.bytes.fill(0, down, down + 64);
    // Every job is another one than that before, so that a worker which mixes them up shows.
    for (let job = 0; job < 10_000; job++) {
      const routine = job % 2 === 0 ? countTasks : discountTasks;
      host.launch(routine, { to: job % 2 === 0 ? up : down, by: job % 7 }, 1 + (job % 5));
    }
    const words = (from: number): number[] => [...new Int32Array(host.view.buffer, from, 6)];
    const wanted = [0, 1].map((parity) => {
      const sums = [0, 0, 0, 0, 0, 0];
      for (let job = parity; job < 10_000; job += 2) {
        for (let task = 0; task <= job % 5; task++) {
          sums[0] = (sums[0] ?? 0) + 1;
          sums[task + 1] = (sums[task + 1] ?? 0) + (parity === 0 ? job % 7 : -(job % 7));
        }
      }
      return sums;
    });
    expect([words(up), words(down)]).toEqual(wanted);
  });

  it("goes on while a job runs, and takes part when it has to be done", async () => {
    const { memory, host } = await start([meet], 2);
    const { address } = memory.allocate(12);
    memory.bytes.fill(0, address, address + 12);
    const done = (): number[] => [4, 8].map((at) => memory.view.getInt32(address + at, true));
    // Neither task ends before another thread has the other.
    host.launch(meet, { to: address, threads: 2, ...meeting }, 2);
    expect(done()).toEqual([0, 0]);
    host.settle();
    expect(done()).toEqual([1, 1]);
    host.settle();
  });

  it("leaves a job of one task to a worker that looks for one", async () => {
    const { memory, host } = await start([meet, countTasks], 2);
    const { address } = memory.allocate(12);
    memory.bytes.fill(0, address, address + 12);
    // Now the worker is awake.
    host.launch(meet, { to: address, threads: 2, ...meeting }, 2);
    host.settle();
    host.launch(countTasks, { to: address, by: 5 }, 1);
    expect(host.view.getInt32(address + 4, true)).toBe(6);
  });

  it("waits for every task, also those of others", async () => {
    const { memory, host } = await start([meet], 2);
    const { address } = memory.allocate(12);
    for (let round = 0; round < 6; round++) {
      memory.bytes.fill(0, address, address + 12);
      host.launch(meet, { to: address, threads: 2, ...meeting, slow: 1 + (round % 2) }, 2);
      expect([4, 8].map((at) => host.view.getInt32(address + at, true))).toEqual([1, 1]);
    }
  });

  it("wakes workers that sleep, and uses each", async () => {
    const { memory, host } = await start([meet], 3);
    const { address } = memory.allocate(32);
    for (let round = 0; round < 5; round++) {
      await wait(20);
      host.view.setInt32(address, 0, true);
      // It does not return unless three threads take part.
      host.launch(meet, { to: address, threads: 3, ...meeting }, 3);
    }
    expect(host.view.getInt32(address, true)).toBe(3);
  });

  it("works while memory grows between jobs", async () => {
    const { memory, host } = await start([countTasks], 3);
    for (let round = 0; round < 30; round++) {
      const { address } = memory.allocate(3 * 2 ** 20);
      memory.bytes.fill(0, address, address + 4 * 101);
      host.launch(countTasks, { to: address, by: 1 }, 100);
      expect(host.view.getUint32(address, true)).toBe(100);
    }
    expect(memory.bytes.byteLength).toBeGreaterThan(90 * 2 ** 20);
  });

  it("lets idle workers sleep", async () => {
    const { memory, host } = await start([countTasks], 4);
    host.launch(countTasks, { to: memory.allocate(40).address, by: 1 }, 8);
    const asleep = (): number => memory.view.getInt32(CONTROL.sleepers, true);
    await vi.waitFor(() => expect(asleep()).toBe(3), { timeout: 20_000 });
    const before = process.cpuUsage();
    await wait(500);
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1000).toBeLessThan(150);
    expect(asleep()).toBe(3);
  });

  it("refuses routines that are not in the library, and arguments that are missing", async () => {
    const { host } = await start([countTasks], 1);
    expect(() => host.launch(sums, { to: 0, length: 0, scale: 0 }, 1)).toThrow(/sums is not in/);
    const none = {} as { to: number; by: number };
    expect(() => host.launch(countTasks, none, 1)).toThrow(/the argument to is missing/);
  });
});

describe("a kernel that fails", () => {
  it.each([1, 2])("in the caller, with %i threads, loses the team", async (threads) => {
    const { memory, host, team } = await start([meet, countTasks], threads);
    const { address } = memory.allocate(16);
    host.view.setInt32(address, 0, true);
    const run = (): void => {
      host.launch(meet, { to: address, threads: 1, ...meeting, trapping: 3 }, 2);
      host.settle();
    };
    const error = thrown(run);
    expect(error).toBeInstanceOf(DeviceLostError);
    expect(error.message).toMatch(/lost \(meet: .*(unreachable|failed in a worker).*recover\(\)/);
    expect(thrown(() => host.launch(countTasks, { to: address, by: 1 }, 1))).toBe(error);
    expect(() => team.assertWell()).toThrow(error);
  });

  it.each([1, 2])("in task %i of two threads, is never missed", async (trapping) => {
    const { memory, host } = await start([meet], 2);
    const { address } = memory.allocate(32);
    host.view.setInt32(address, 0, true);
    // One of the tasks is the worker's: with the first it mostly is the caller that fails.
    const run = (): void => {
      host.launch(meet, { to: address, threads: 2, ...meeting, trapping }, 2);
      host.settle();
    };
    expect(thrown(run)).toBeInstanceOf(DeviceLostError);
  });

  it("in a worker, is told by the caller", async () => {
    const { memory, host } = await start([meet], 3);
    const { address } = memory.allocate(32);
    host.view.setInt32(address, 0, true);
    // All but one of the three tasks trap, and the caller has at most one: a worker fails in any case.
    const run = (): void => {
      host.launch(meet, { to: address, threads: 3, ...meeting, trapping: 6 }, 3);
      host.settle();
    };
    expect(thrown(run).message).toMatch(/meet: .*(failed in a worker|unreachable)/);
  });

  it("does not hang where a worker never comes back", async () => {
    const workers = watchWorkers();
    const { memory, host, team } = await start([meet], 2, 2000);
    const { address } = memory.allocate(32);
    host.view.setInt32(address, 0, true);
    const before = performance.now();
    const run = (): void => {
      host.launch(meet, { to: address, threads: 2, ...meeting, endless: 1 }, 2);
      // The endless task is the worker's: it comes while this thread is not there yet.
      while (memory.view.getInt32(address, true) === 0) {
        if (performance.now() > before + 10_000) throw new Error("no worker came");
      }
      host.settle();
    };
    expect(thrown(run).message).toMatch(/meet: .*did not come back within 2000 ms/);
    expect(performance.now() - before).toBeLessThan(15_000);
    // It ends in the middle of its loop.
    const ended = new Promise<void>((resolve) => workers[0]?.on("exit", resolve));
    await team.stop();
    await ended;
  });
});

describe("a worker that is terminated", () => {
  it("while idle, loses the team", async () => {
    const workers = watchWorkers();
    const { memory, host } = await start([countTasks], 3);
    const { address } = memory.allocate(400);
    host.launch(countTasks, { to: address, by: 1 }, 50);
    await workers[1]?.terminate();
    await wait(0);
    expect(thrown(() => host.launch(countTasks, { to: address, by: 1 }, 50)).message).toMatch(
      /lost \(a worker ended\)/,
    );
  });

  it("just before a job, is not waited for", async () => {
    const workers = watchWorkers();
    const { memory, host } = await start([countTasks], 2);
    const { address } = memory.allocate(400);
    host.view.setInt32(address, 0, true);
    const gone = workers[0]?.terminate();
    // Nobody has heard of it yet.
    host.launch(countTasks, { to: address, by: 1 }, 90);
    expect(host.view.getInt32(address, true)).toBe(90);
    await gone;
  });
});

describe("workers that cannot start", () => {
  it.each([
    ["throw", "throw new Error('no luck')", 20_000, /no luck/],
    ["end at once", "process.exit(0)", 20_000, /a worker ended/],
    ["say nothing", "setInterval(() => undefined, 1000)", 300, /nothing within 300 ms/],
  ] as const)("since they %s", async (_, text, patience, message) => {
    replaceWorker(
      (real) =>
        class extends real {
          constructor(...[, options]: ConstructorParameters<typeof real>) {
            super(text, options);
          }
        },
    );
    const starting = start([countTasks], 3, patience);
    await expect(starting).rejects.toThrow(UnsupportedError);
    await expect(starting).rejects.toThrow(message);
    await expect(starting).rejects.toThrow(/use create\(\{ threads: 1 \}\)/);
  });

  it("since the host forbids them", async () => {
    replaceWorker(
      () =>
        function forbid(): never {
          throw new Error("access was restricted");
        } as unknown as NodeThreads["Worker"],
    );
    await expect(start([countTasks], 2)).rejects.toThrow(/cannot start here .*was restricted/);
    expect((await start([countTasks], 1)).team.threads).toBe(1);
  });

  it("since they get no memory", async () => {
    replaceWorker(
      (real) =>
        class extends real {
          constructor(...[text, options]: ConstructorParameters<typeof real>) {
            super(text, { ...options, workerData: { ...options.workerData, memory: {} } });
          }
        },
    );
    await expect(start([countTasks], 2)).rejects.toThrow(/cannot start here .*LinkError/);
  });
});

describe("stopping", () => {
  it("ends every worker, and everything throws afterwards", async () => {
    const workers = watchWorkers();
    const { host, team } = await start([countTasks], 4);
    expect(workers.length).toBe(3);
    const ended = workers.map((worker) => new Promise<void>((done) => worker.on("exit", done)));
    await team.stop();
    await Promise.all(ended);
    await team.stop();
    expect(() => host.launch(countTasks, { to: 0, by: 1 }, 1)).toThrow(DeviceLostError);
  });
});
