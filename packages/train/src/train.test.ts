import {
  type Backend,
  ConfigError,
  NumericError,
  type Routing,
  Tensor,
  add,
  cast,
  foldIn,
  loadOf,
  randomKey,
} from "@moiety/core";
import createCpu from "@moiety/backend-cpu";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { adamW } from "./adamw.ts";
import type { TrainingEvent } from "./event.ts";
import type { TrainOptions } from "./options.ts";
import { disposeTree, tensorsOf } from "./owned.ts";
import { warmupCosine } from "./schedule.ts";
import { sgd } from "./sgd.ts";
import { train } from "./train.ts";
import {
  type ToyBatch,
  type ToyParams,
  type ToyState,
  startToy,
  toyAssignments,
  toyBatch,
  toyControl,
  toyLoss,
} from "./testing/toy.ts";

type ToyOptions = TrainOptions<ToyParams, ToyState, ToyBatch>;
type ToyEvent = TrainingEvent<ToyParams, ToyState>;

describe("train", () => {
  let backend: Backend;
  beforeEach(async () => {
    backend = await createCpu();
  });
  afterEach(() => vi.restoreAllMocks());

  const optimizer = adamW({ learningRate: 0.02 });
  const options = (steps: number, changes: Partial<ToyOptions> = {}): ToyOptions => ({
    start: startToy(backend, optimizer, steps),
    loss: toyLoss,
    optimizer,
    batch: (step, microBatch) => toyBatch(backend, step, microBatch),
    control: toyControl,
    clip: 1,
    ...changes,
  });
  const collect = async (given: ToyOptions): Promise<ToyEvent[]> => {
    const events: ToyEvent[] = [];
    for await (const event of train(given)) events.push(event);
    return events;
  };
  const last = (events: readonly ToyEvent[]): ToyEvent => events.at(-1) as ToyEvent;

  it("learns, and tells how it goes", async () => {
    const schedule = warmupCosine({ peak: 0.05, warmupSteps: 5, totalSteps: 30 });
    let clock = 0;
    const events = await collect(options(30, { schedule, now: () => (clock += 250) }));
    expect(events.map(({ step }) => step)).toEqual(Array.from({ length: 30 }, (_, i) => i + 1));
    expect(last(events).loss).toBeLessThan(0.5 * (events[0] as ToyEvent).loss);
    for (const [index, event] of events.entries()) {
      expect(event.learningRate).toBe(schedule(index));
      expect(event.loss).toBeCloseTo(
        (event.lossParts["error"] ?? 0) + 0.001 * (event.lossParts["size"] ?? 0),
        6,
      );
      expect(event.gradientNorm).toBeGreaterThan(0);
      expect(event.groupNorms).toEqual([event.gradientNorm]);
      expect(event.loads).toHaveLength(1);
      expect(event.loads[0]?.reduce((a, b) => a + b)).toBe(toyAssignments);
      expect(event.tokens).toBe(12);
      expect(event.seconds).toBe(0.25);
      expect(event.tokensPerSecond).toBe(48);
    }
  });

  it("moves the state by the loads of the step", async () => {
    const [event] = await collect(options(1));
    const load = event?.loads[0] ?? [];
    const bias = (await event?.snapshot.state.layers[0]?.bias.read()) ?? [];
    const expected = Array.from(load, (count) => Math.fround(0.01) * Math.sign(6 - count));
    expect(Array.from(bias)).toEqual(expected);
    expect(expected.some((value) => value !== 0)).toBe(true);
  });

  it("hands the control the routings of all micro-batches, and frees them after", async () => {
    const seen: Routing[] = [];
    const given = options(1, {
      microBatches: 2,
      control: (_, __, { routings, tokens }) => {
        expect(tokens).toBe(24);
        expect(routings.map((layer) => layer.length)).toEqual([2]);
        seen.push(...routings.flat());
        const total = seen.map((routing) => loadOf(routing)).reduce((a, b) => add(a, b));
        return { layers: [{ bias: cast(total, { dtype: "f32" }) }] };
      },
    });
    const { loads, snapshot } = last(await collect(given));
    const bias = await snapshot.state.layers[0]?.bias.read();
    expect(Array.from(bias ?? [])).toEqual(Array.from(loads[0] ?? []));
    expect(seen.every(({ logits }) => logits.disposed)).toBe(true);
  });

  it("gives the same bits twice", async () => {
    const runs = await Promise.all([collect(options(4)), collect(options(4))]);
    expect(runs[0]?.map(({ loss }) => loss)).toEqual(runs[1]?.map(({ loss }) => loss));
  });

  it("comes back to the same number of live buffers after every step", async () => {
    const given = options(5, { microBatches: 2 });
    const before = backend.statistics();
    for await (const { snapshot } of train(given)) {
      const now = backend.statistics();
      expect(now.liveBuffers).toBe(before.liveBuffers);
      expect(now.liveTensors).toBe(before.liveTensors);
      expect(tensorsOf(snapshot).every((tensor) => !tensor.disposed)).toBe(true);
    }
    expect(backend.statistics().refusedDonations).toBe(0);
  });

  it("waits for the device once a step", async () => {
    const read = vi.spyOn(Tensor.prototype, "read");
    await collect(options(3));
    // Scalars in one tensor and loads in another, asked for together.
    expect(read).toHaveBeenCalledTimes(6);
  });

  it("averages micro-batches and adds their loads", async () => {
    const plain = sgd({ learningRate: 1 });
    const run = async (changes: Partial<ToyOptions>): Promise<ToyEvent> => {
      const start = startToy(backend, plain, 1, "f64");
      return last(
        await collect(options(1, { start, optimizer: plain, clip: undefined, ...changes })),
      );
    };
    const both = await run({ microBatches: 2 });
    const one = await run({ batch: (step) => toyBatch(backend, step, 0) });
    const other = await run({
      batch: (step) => toyBatch(backend, step, 1),
      loss: (params, state, batch, _key) => toyLoss(params, state, batch, keyOfSecond),
    });
    expect(both.loss).toBeCloseTo((one.loss + other.loss) / 2, 12);
    expect(both.tokens).toBe(24);
    expect(Array.from(both.loads[0] ?? [])).toEqual(
      Array.from(one.loads[0] ?? [], (count, expert) => count + (other.loads[0]?.[expert] ?? 0)),
    );
    const moved = async ({ snapshot }: ToyEvent): Promise<number[]> => {
      const start = startToy(backend, plain, 1, "f64");
      const before = await start.params.experts.up.read();
      const after = await snapshot.params.experts.up.read();
      return Array.from(after, (value, index) => value - (before[index] ?? 0));
    };
    const [sum, a, b] = await Promise.all([both, one, other].map(moved));
    for (const [index, value] of (sum ?? []).entries()) {
      expect(value).toBeCloseTo(((a?.[index] ?? 0) + (b?.[index] ?? 0)) / 2, 12);
    }
  });

  it("clips routers apart, and leaves frozen leaves alone", async () => {
    const events = await collect(
      options(2, {
        clip: [
          { match: (path) => path.startsWith("router"), maxNorm: 1e-3 },
          { match: () => true, maxNorm: Infinity },
        ],
        frozen: (path) => path === "experts.down",
      }),
    );
    const { gradientNorm, groupNorms, snapshot } = last(events);
    expect(groupNorms).toHaveLength(2);
    expect(Math.hypot(...groupNorms)).toBeCloseTo(gradientNorm, 6);
    const start = startToy(backend, optimizer, 2);
    expect(await snapshot.params.experts.down.read()).toEqual(
      await start.params.experts.down.read(),
    );
    expect(await snapshot.params.experts.up.read()).not.toEqual(
      await start.params.experts.up.read(),
    );
  });

  it("throws before it harms anything when the loss is not finite", async () => {
    const given = options(5, {
      batch: (step) => {
        const batch = toyBatch(backend, step);
        if (step < 2) return batch;
        disposeTree(batch.target);
        return {
          ...batch,
          target: backend.tensor(new Float32Array(72).fill(1e30), { shape: [12, 6] }),
        };
      },
    });
    const before = backend.statistics();
    let seen: ToyEvent | undefined;
    let kept: unknown;
    const running = (async () => {
      for await (const event of train(given)) {
        seen = event;
        kept = await contents(event);
      }
    })();
    await expect(running).rejects.toThrow(NumericError);
    await expect(running).rejects.toThrow(/step 3: loss Infinity/);
    expect(await contents(seen as ToyEvent)).toEqual(kept);
    expect(backend.statistics().liveBuffers).toBe(before.liveBuffers);
    const again = await collect(
      options(3, { start: { ...(seen as ToyEvent).snapshot, steps: 3 } }),
    );
    expect(again.map(({ step }) => step)).toEqual([3]);
  });

  it("frees what it made when the loss function throws", async () => {
    let calls = 0;
    const given = options(2, {
      microBatches: 2,
      loss: (params, state, batch, key) => {
        if (++calls === 4) throw new ConfigError("enough", "calls", calls);
        return toyLoss(params, state, batch, key);
      },
    });
    const before = backend.statistics().liveBuffers;
    await expect(collect(given)).rejects.toThrow("enough");
    expect(backend.statistics().liveBuffers).toBe(before);
  });

  it("finishes the step under way when it is aborted", async () => {
    const controller = new AbortController();
    const given = options(10, { signal: controller.signal });
    const events: ToyEvent[] = [];
    for await (const event of train(given)) {
      events.push(event);
      if (event.step === 3) controller.abort();
    }
    expect(events).toHaveLength(3);
    expect(last(events).snapshot.step).toBe(3);
    const rest = await collect(options(10, { start: last(events).snapshot }));
    const whole = await collect(options(10));
    expect(await contents(last(rest))).toEqual(await contents(last(whole)));
  });

  it("ends at once when there is nothing to do", async () => {
    const start = { ...startToy(backend, optimizer, 2), step: 2 };
    const result = await train(options(2, { start })).next();
    expect(result).toEqual({ done: true, value: start });
  });

  it("refuses options that make no sense", async () => {
    await expect(collect(options(1, { microBatches: 0 }))).rejects.toThrow(/microBatches/);
    await expect(collect(options(1, { clip: -1 }))).rejects.toThrow(ConfigError);
    expect(() => startToy(backend, optimizer, 0)).toThrow(/steps/);
  });
});

/** The key of step 0's second micro-batch. */
const keyOfSecond = foldIn(foldIn(randomKey(7), 0), 1);

async function contents({ snapshot }: ToyEvent): Promise<unknown> {
  return Promise.all(tensorsOf(snapshot).map((tensor) => tensor.read()));
}
