import {
  type Backend,
  type HostArray,
  type RouteAttributes,
  type Tensor,
  add,
  mul,
  routeTopK,
  routeTopKBackward,
  sum,
  valueAndGrad,
} from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Pair, createPair, randomTensor } from "../../testing/oracle.ts";

/** Each stage in each of its kinds, for 12 experts or more. */
const SPECS: Readonly<Record<string, RouteAttributes>> = {
  plain: { topK: 2, score: "softmax" },
  switch: { topK: 1, score: "softmax", renormalize: { skipSingle: true } },
  twelve: { topK: 12, score: "softmax", renormalize: {} },
  "by logits": { topK: 3, score: "softmax", selectBy: "logits", temperature: 0.7 },
  capped: {
    topK: 2,
    score: "sigmoid",
    softcap: 1.5,
    temperature: 2,
    renormalize: { epsilon: 1e-9 },
  },
  roots: {
    topK: 4,
    score: "sqrtSoftplus",
    renormalize: { epsilon: "machine", guard: "max" },
    scale: 2.5,
  },
  logits: { topK: 2, score: "identity", weight: "softmaxOfChosen", scale: 0.5 },
  "sigmoid of chosen": { topK: 3, score: "identity", weight: "sigmoidOfChosen", renormalize: {} },
  "capped softmax of chosen": {
    topK: 3,
    score: "softmax",
    softcap: 2,
    weight: "softmaxOfChosen",
    renormalize: { p: 2 },
  },
  "root mean square": { topK: 3, score: "sigmoid", renormalize: { p: 2, epsilon: 1e-3 } },
  "odd norm": { topK: 3, score: "softmax", renormalize: { p: 1.5, epsilon: 0.5, guard: "max" } },
  later: { topK: 2, score: "sigmoid", renormalize: { when: "after", epsilon: 1e-6 }, scale: 3 },
  "best groups": {
    topK: 3,
    score: "softmax",
    groups: { count: 4, topK: 2, score: "max", fill: "mask" },
  },
  "groups of two best": {
    topK: 4,
    score: "sigmoid",
    bias: true,
    renormalize: { epsilon: 1e-20 },
    scale: 2.5,
    groups: { count: 4, topK: 2, score: { top: 2 }, fill: "mask" },
  },
  "groups filled with 0": {
    topK: 6,
    score: "sigmoid",
    bias: true,
    groups: { count: 6, topK: 2, score: { top: 9 }, fill: "zero" },
  },
};

function specOf(name: string): RouteAttributes {
  const spec = SPECS[name];
  if (spec === undefined) throw new Error(`no spec ${name}`);
  return spec;
}

function boolsOf(
  backend: Backend,
  [tokens, experts]: readonly [number, number],
  hidden: (at: number) => boolean,
): Tensor {
  const values = Uint32Array.from({ length: tokens * experts }, (_, at) => Number(!hidden(at)));
  return backend.tensor(values, { shape: [tokens, experts], dtype: "bool" });
}

function outputsAndGradient(
  backend: Backend,
  logits: Tensor,
  spec: RouteAttributes,
  bias?: Tensor,
  mask?: Tensor,
): Tensor[] {
  const [tokens = 0, experts = 0] = logits.shape;
  const [ofScores, ofWeights] = [
    randomTensor(backend, 8, [tokens, experts]),
    randomTensor(backend, 9, [tokens, spec.topK]),
  ];
  const gradientOf = (scored: boolean, weighed: boolean): Tensor =>
    valueAndGrad((x: Tensor) => {
      const [scores, , weights] = routeTopK(x, bias, mask, spec);
      const terms = [
        ...(scored ? [sum(mul(scores, ofScores))] : []),
        ...(weighed ? [sum(mul(weights, ofWeights))] : []),
      ];
      return terms.reduce((a, b) => add(a, b));
    })(logits).grads as Tensor;
  return [
    ...routeTopK(logits, bias, mask, spec),
    gradientOf(true, true),
    gradientOf(false, true),
    gradientOf(true, false),
  ];
}

describe.each([12, 36, 60])("routeTopK with %i experts", (experts) => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await createPair({ threads: 2 });
  });
  afterAll(() => pair.dispose());

  it.each(Object.entries(SPECS))("agrees with its gradients: %s", async (_, spec) => {
    await pair.agree((backend) => {
      const bias = spec.bias ? randomTensor(backend, 2, [experts]) : undefined;
      return outputsAndGradient(backend, randomTensor(backend, 1, [7, experts]), spec, bias);
    }, 2e-5);
  });

  it.each(["plain", "best groups", "groups filled with 0", "logits", "sigmoid of chosen"])(
    "gives index E where a mask leaves too few: %s",
    async (name) => {
      const spec = specOf(name);
      await pair.agree((backend) => {
        const mask = boolsOf(backend, [5, experts], (at) =>
          at < experts ? at !== 5 : at < 2 * experts || at % 3 === 0,
        );
        const logits = randomTensor(backend, 1, [5, experts]);
        const bias = spec.bias ? randomTensor(backend, 2, [experts]) : undefined;
        return outputsAndGradient(backend, logits, spec, bias, mask);
      }, 2e-5);
    },
  );

  it("settles ties by the lower index, in groups too", async () => {
    for (const name of ["plain", "twelve", "best groups", "groups of two best"]) {
      const spec = specOf(name);
      await pair.agree((backend) => {
        const values = Float32Array.from({ length: 4 * experts }, (_, at) =>
          at < experts ? 0 : Math.floor(at / 2) % 3,
        );
        const logits = backend.tensor(values, { shape: [4, experts] });
        return [...routeTopK(logits, undefined, undefined, spec)];
      });
    }
  });

  it("routes among many experts", async () => {
    const spec: RouteAttributes = {
      ...specOf("groups of two best"),
      topK: 8,
      groups: { count: 8, topK: 4, score: { top: 2 }, fill: "mask" },
    };
    for (const given of [spec, { topK: 8, score: "softmax", renormalize: {} } as const]) {
      await pair.agree((backend) => {
        const logits = randomTensor(backend, 1, [9, 256]);
        const bias = randomTensor(backend, 2, [256]);
        return outputsAndGradient(backend, logits, given, given === spec ? bias : undefined);
      }, 2e-5);
    }
  });

  it("keeps NaN and far logits to their tokens", async () => {
    for (const name of ["plain", "roots", "sigmoid of chosen", "groups of two best"]) {
      await pair.agree((backend) => {
        const values = Float32Array.from({ length: 4 * experts }, (_, at) => Math.sin(at));
        values[3] = Number.NaN;
        values[experts + 2] = 1e4;
        values[2 * experts + 5] = -1e4;
        const logits = backend.tensor(values, { shape: [4, experts] });
        return [...routeTopK(logits, undefined, undefined, specOf(name))];
      }, 1e-6);
    }
  });

  it("gives a token the same bits alone and among others, with any number of threads", async () => {
    const alone = await createPair({ threads: 1 });
    for (const name of ["capped", "groups of two best", "roots"]) {
      const spec = specOf(name);
      const bitsOf = async (backend: Backend, tokens: number): Promise<HostArray[]> => {
        const logits = randomTensor(backend, 1, [tokens, experts]);
        const bias = spec.bias ? randomTensor(backend, 2, [experts]) : undefined;
        return Promise.all(routeTopK(logits, bias, undefined, spec).map((x) => x.read()));
      };
      const all = await bitsOf(pair.wasm, 700);
      expect(await bitsOf(alone.wasm, 700)).toEqual(all);
      for (const [index, values] of (await bitsOf(pair.wasm, 1)).entries()) {
        expect(all[index]?.slice(0, values.length)).toEqual(values);
      }
    }
    await alone.dispose();
  });

  it("takes no tokens", async () => {
    await pair.agree((backend) => [
      ...routeTopK(randomTensor(backend, 1, [0, experts]), undefined, undefined, {
        topK: 2,
        score: "softmax",
      }),
    ]);
  });
});

describe("routeTopK", () => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await createPair({ threads: 2, exact: true });
  });
  afterAll(() => pair.dispose());

  it.each([1, 2, 3, 7, 13, 33])("takes %i experts, all of them chosen too", async (experts) => {
    for (const name of ["plain", "logits", "sigmoid of chosen", "roots", "later"]) {
      for (const topK of new Set([1, Math.ceil(experts / 2), experts])) {
        // The weight of a lone choice is constant: its gradient is rounding, and nothing else.
        if (topK === 1 && specOf(name).renormalize) continue;
        await pair.agree(
          (backend) =>
            outputsAndGradient(backend, randomTensor(backend, 3, [9, experts]), {
              ...specOf(name),
              topK,
            }),
          2e-5,
        );
      }
    }
  });

  it("gives no gradient where no output has one", async () => {
    await pair.agree((backend) => {
      const logits = randomTensor(backend, 1, [3, 8]);
      const indices = routeTopK(logits, undefined, undefined, specOf("plain"))[1];
      return routeTopKBackward(logits, indices, undefined, undefined, specOf("plain"));
    });
  });
});
