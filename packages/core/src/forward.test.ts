import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import type { Backend } from "./contract.ts";
import { ConfigError, UnsupportedError } from "./errors.ts";
import { type Forward, apply, applyAsync, checkpoint } from "./forward.ts";
import { valueAndGrad } from "./gradient.ts";
import type { Module } from "./module.ts";
import type { Routing } from "./moe/routing.ts";
import { add, exp, mul, sum, takeAlong, topK } from "./ops/index.ts";
import { type Tensor, isTensor } from "./tensor.ts";

let backend: Backend;

beforeAll(async () => {
  backend = await create();
});

afterAll(() => backend.dispose());

interface Params {
  readonly w: Tensor;
}

type Part<Result> = Module<Params, undefined, [x: Tensor], Result>;

const f64 = (data: readonly number[]): Tensor => backend.tensor(data, { dtype: "f64" });
const values = async (tensor: Tensor | null): Promise<number[]> => [
  ...((await tensor?.read()) ?? []),
];

/** A module of a forward alone. */
function part<Result>(
  forward: (params: Params, state: undefined, x: Tensor) => Forward<Result>,
): Part<Result> {
  return { init: () => ({ params: { w: f64([1]) }, state: undefined }), forward };
}

/** Three layers of y = exp(w · y) · y, each a checkpoint or not. */
function deep(checkpointed: boolean): Part<Tensor> {
  return part(function* (params, _, x): Forward<Tensor> {
    let y = x;
    for (let layer = 0; layer < 3; layer++) {
      const input = y;
      function* run(): Forward<Tensor> {
        return mul(exp(mul(params.w, input)), input);
      }
      y = yield* checkpointed ? checkpoint(run) : run();
    }
    return y;
  });
}

const routing = { kind: "token-choice", experts: 2 } as Routing;

/** Pauses once; gives what it was answered with times w. */
function pausing(pause: {
  prepare?: () => Promise<void>;
  remote?: () => Promise<Tensor>;
}): Part<{ y: Tensor; caught?: unknown }> {
  return part(function* (params, _, x): Forward<{ y: Tensor }> {
    const doubled = add(x, x);
    const answer = yield { kind: "routing", routing, x: doubled, ...pause };
    return { y: mul(isTensor(answer) ? answer : doubled, params.w) };
  });
}

describe("apply", () => {
  it("frees everything but the result", async () => {
    const [w, x] = [f64([0.1]), f64([1, 2])];
    const before = backend.statistics().liveTensors;
    const y = apply(deep(false), { w }, undefined, x);
    expect(backend.statistics().liveTensors).toBe(before + 1);
    expect((await values(y))[0]).toBeCloseTo(1.4, 2);
    y.dispose();
    expect(() =>
      apply(
        part(function* (_params, _, input): Forward<Tensor> {
          add(input, input);
          throw new Error("mine");
        }),
        { w },
        undefined,
        x,
      ),
    ).toThrow("mine");
    expect(backend.statistics().liveTensors).toBe(before);
  });

  it("refuses a bank that must wait, and lets the forward clean up", () => {
    let cleaned = 0;
    const module = part(function* (_params, _, x): Forward<Tensor> {
      try {
        yield { kind: "routing", routing, x, prepare: async () => {} };
      } finally {
        cleaned++;
      }
      return x;
    });
    expect(() => apply(module, { w: f64([1]) }, undefined, f64([1]))).toThrow(UnsupportedError);
    expect(cleaned).toBe(1);
  });

  it("runs modules without a tensor", () => {
    const module: Module<undefined, undefined, [], number> = {
      init: () => ({ params: undefined, state: undefined }),
      *forward(): Forward<number> {
        return 7;
      },
    };
    expect(apply(module, undefined, undefined)).toBe(7);
  });
});

describe("applyAsync", () => {
  it("waits for experts to be prepared", async () => {
    const log: string[] = [];
    const prepare = async (): Promise<void> => {
      await Promise.resolve();
      log.push("prepared");
    };
    const [w, x] = [f64([3]), f64([1, 2])];
    const before = backend.statistics().liveTensors;
    const { y } = await applyAsync(pausing({ prepare }), { w }, undefined, x);
    expect(log).toEqual(["prepared"]);
    expect(await values(y)).toEqual([6, 12]);
    expect(backend.statistics().liveTensors).toBe(before + 1);
  });

  it("sends back what was computed elsewhere, and frees it", async () => {
    const [w, x] = [f64([3]), f64([1, 2])];
    const before = backend.statistics().liveTensors;
    const remote = async (): Promise<Tensor> => f64([10, 20]);
    const { y } = await applyAsync(pausing({ remote }), { w }, undefined, x);
    expect(await values(y)).toEqual([30, 60]);
    expect(backend.statistics().liveTensors).toBe(before + 1);
  });

  it("gives what apply gives", async () => {
    const [w, x] = [f64([0.1]), f64([1, 2])];
    const a = await values(apply(deep(true), { w }, undefined, x));
    expect(await values(await applyAsync(deep(true), { w }, undefined, x))).toEqual(a);
  });

  it("hands a failure to the forward, and frees everything", async () => {
    const [w, x] = [f64([3]), f64([1])];
    const before = backend.statistics().liveTensors;
    let cleaned = 0;
    const module = part(function* (_params, _, input): Forward<Tensor> {
      try {
        const y = add(input, input);
        yield {
          kind: "routing",
          routing,
          x: y,
          prepare: async () => Promise.reject(new Error("disk")),
        };
        return y;
      } finally {
        cleaned++;
      }
    });
    await expect(applyAsync(module, { w }, undefined, x)).rejects.toThrow("disk");
    expect(cleaned).toBe(1);
    expect(backend.statistics().liveTensors).toBe(before);
  });

  it("refuses gradients and calls without a tensor", async () => {
    const rejected: Promise<unknown>[] = [];
    valueAndGrad((params: Params) => {
      rejected.push(applyAsync(deep(false), params, undefined, f64([1])));
      return sum(params.w);
    })({ w: f64([1]) });
    await expect(rejected[0]).rejects.toThrow(/inference/);
    const nothing = { ...deep(false) } as unknown as Module<undefined, undefined, [], Tensor>;
    await expect(applyAsync(nothing, undefined, undefined)).rejects.toThrow(ConfigError);
  });
});

describe("checkpoint", () => {
  const gradient = (module: Part<Tensor>, wrap: <T>(body: () => T) => T = (body) => body()) =>
    valueAndGrad((params: { w: Tensor; x: Tensor }) =>
      wrap(() => sum(apply(module, params, undefined, params.x))),
    )({ w: f64([0.1]), x: f64([1, 2]) });

  it("changes no bit of the loss or the gradients", async () => {
    const [kept, again] = [gradient(deep(false)), gradient(deep(true))];
    expect(await values(again.loss)).toEqual(await values(kept.loss));
    expect(await values(again.grads.w)).toEqual(await values(kept.grads.w));
    expect(await values(again.grads.x)).toEqual(await values(kept.grads.x));
  });

  it("may stand in a scope of one's own, and inside another checkpoint", async () => {
    const kept = gradient(deep(false));
    const scoped = gradient(deep(true), (body) => backend.scope(body));
    const nested = gradient(
      part(function* (params, _, x): Forward<Tensor> {
        return yield* checkpoint(() => deep(true).forward(params, undefined, x));
      }),
    );
    for (const other of [scoped, nested]) {
      expect(await values(other.grads.w)).toEqual(await values(kept.grads.w));
      expect(await values(other.grads.x)).toEqual(await values(kept.grads.x));
    }
  });

  it("leaves nothing behind", () => {
    const before = backend.statistics();
    for (const checkpointed of [false, true]) {
      const { loss, grads } = gradient(deep(checkpointed), (body) => backend.scope(body));
      for (const tensor of [loss, grads.w, grads.x]) tensor?.dispose();
    }
    const { liveBuffers, liveTensors } = backend.statistics();
    // The parameters of both runs stay.
    expect(liveTensors - before.liveTensors).toBe(4);
    expect(liveBuffers - before.liveBuffers).toBe(4);
  });

  it("holds less at its peak", async () => {
    const peak = async (checkpointed: boolean): Promise<number> => {
      const own = await create();
      const wide = own.tensor(new Float64Array(1000).fill(0.01));
      const step = valueAndGrad((params: { w: Tensor }) => {
        function* forward(): Forward<Tensor> {
          let y = params.w;
          for (let layer = 0; layer < 8; layer++) {
            const input = y;
            function* run(): Forward<Tensor> {
              let z = input;
              for (let index = 0; index < 8; index++) z = mul(exp(z), z);
              return z;
            }
            y = yield* checkpointed ? checkpoint(run) : run();
          }
          return sum(y);
        }
        const module = { init: () => ({ params, state: undefined }), forward };
        return apply(module, params, undefined);
      });
      step({ w: wide });
      const { peakBytes } = own.statistics();
      await own.dispose();
      return peakBytes;
    };
    expect(await peak(true)).toBeLessThan(0.5 * (await peak(false)));
  });

  it("keeps integers that were chosen, and computes floats again", async () => {
    let runs = 0;
    const module = part(function* (params, _, x): Forward<Tensor> {
      return yield* checkpoint(function* (): Forward<Tensor> {
        // A choice that would fall otherwise when it is made again.
        const scores = mul(x, runs++ === 0 ? 1 : -1);
        const [, indices] = topK(scores, undefined, { k: 1 });
        return mul(takeAlong(x, indices, { axis: 0 }), params.w);
      });
    });
    const { grads, loss } = gradient(module);
    expect(runs).toBe(2);
    expect(await loss.item()).toBeCloseTo(0.2);
    expect(await values(grads.x)).toEqual([0, 0.1]);
    expect(await values(grads.w)).toEqual([2]);
  });

  it("runs once where no gradient is wanted", async () => {
    let runs = 0;
    const module = part(function* (_params, _, x): Forward<Tensor> {
      return yield* checkpoint(function* (): Forward<Tensor> {
        runs++;
        return add(x, x);
      });
    });
    expect(await values(apply(module, { w: f64([1]) }, undefined, f64([2])))).toEqual([4]);
    expect(runs).toBe(1);
  });

  it("returns trees, with untraced and integer tensors as they were", async () => {
    const module = part(function* (params, _, x): Forward<Tensor> {
      const result = yield* checkpoint(function* (): Forward<{
        readonly list: readonly Tensor[];
        readonly map: ReadonlyMap<string, Tensor>;
        readonly ids: Tensor;
      }> {
        const [top, ids] = topK(x, undefined, { k: 1 });
        return { list: [mul(top, params.w)], map: new Map([["same", x]]), ids };
      });
      const [first] = result.list;
      const same = result.map.get("same");
      if (!first || !same) throw new Error("lost");
      return mul(sum(first), takeAlong(same, result.ids, { axis: 0 }));
    });
    const { loss, grads } = gradient(module);
    expect(await loss.item()).toBeCloseTo(0.4);
    expect(await values(grads.x)).toEqual([0, expect.closeTo(0.4)]);
    expect(await values(grads.w)).toEqual([4]);
  });

  it("puts everything back when its part throws", async () => {
    const failing = part(function* (params, _, x): Forward<Tensor> {
      try {
        return yield* checkpoint(function* (): Forward<Tensor> {
          mul(params.w, x);
          throw new Error("inside");
        });
      } catch {
        return yield* deep(true).forward(params, undefined, x);
      }
    });
    const [kept, after] = [gradient(deep(false)), gradient(failing)];
    expect(await values(after.grads.w)).toEqual(await values(kept.grads.w));
  });
});
