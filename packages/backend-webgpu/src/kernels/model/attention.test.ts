import {
  type AttentionAttributes,
  type Backend,
  type Tensor,
  attention,
  mul,
  slice,
  sum,
  valueAndGrad,
} from "@moiety/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { requireWebGpu } from "../../testing/adapter.ts";
import { type Pair, createPair, randomTensor } from "../../testing/oracle.ts";

const gpu = await requireWebGpu();

interface Sizes {
  readonly batch: number;
  readonly queries: number;
  readonly keys: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly width: number;
  readonly valueWidth: number;
}

const PLAIN: Sizes = {
  batch: 2,
  queries: 7,
  keys: 7,
  heads: 2,
  keyHeads: 2,
  width: 8,
  valueWidth: 8,
};

function inputs(backend: Backend, sizes: Sizes): [q: Tensor, k: Tensor, v: Tensor] {
  const { batch, queries, keys, heads, keyHeads, width, valueWidth } = sizes;
  return [
    randomTensor(backend, 1, [batch, queries, heads, width]),
    randomTensor(backend, 2, [batch, keys, keyHeads, width]),
    randomTensor(backend, 3, [batch, keys, keyHeads, valueWidth]),
  ];
}

function maskOf(backend: Backend, { batch, keys }: Sizes, hidden: (at: number) => boolean): Tensor {
  const values = Uint32Array.from({ length: batch * keys }, (_, at) => (hidden(at) ? 0 : 1));
  return backend.tensor(values, { shape: [batch, keys], dtype: "bool" });
}

function outputAndGradients(
  backend: Backend,
  sizes: Sizes,
  attributes: AttentionAttributes,
  hidden?: (at: number) => boolean,
): Tensor[] {
  const mask = hidden && maskOf(backend, sizes, hidden);
  const given = inputs(backend, sizes);
  const { batch, queries, heads, valueWidth } = sizes;
  const direction = randomTensor(backend, 4, [batch, queries, heads, valueWidth]);
  const { grads } = valueAndGrad(([q, k, v]: readonly [Tensor, Tensor, Tensor]) =>
    sum(mul(attention(q, k, v, mask, undefined, attributes), direction)),
  )(given);
  return [attention(...given, mask, undefined, attributes), ...(grads as readonly Tensor[])];
}

const CASES: readonly (readonly [string, Sizes, AttentionAttributes])[] = [
  ["whole", PLAIN, { causal: false, scale: 0.35, position: 0 }],
  ["causal", PLAIN, { causal: true, scale: 0.35, position: 0 }],
  ["a cache with room left", { ...PLAIN, keys: 30 }, { causal: true, scale: 0.35, position: 5 }],
  ["one query", { ...PLAIN, queries: 1, keys: 150 }, { causal: true, scale: 0.3, position: 140 }],
  [
    "grouped heads",
    { ...PLAIN, heads: 6, keyHeads: 2 },
    { causal: true, scale: 0.35, position: 0 },
  ],
  [
    "odd widths",
    { ...PLAIN, width: 5, valueWidth: 7, heads: 4 },
    { causal: false, scale: 0.4, position: 0 },
  ],
  [
    "blocks",
    { ...PLAIN, batch: 1, queries: 70, keys: 131, width: 66, valueWidth: 12 },
    { causal: true, scale: 0.1, position: 60 },
  ],
  [
    "many keys for one query",
    { ...PLAIN, batch: 1, queries: 2, keys: 300, valueWidth: 6 },
    { causal: true, scale: 0.3, position: 290 },
  ],
  [
    "width 256",
    { ...PLAIN, batch: 1, queries: 3, keys: 5, width: 256, valueWidth: 256 },
    { causal: false, scale: 1 / 16, position: 0 },
  ],
];

describe.skipIf(!gpu.available).each(["registers", "workgroup"] as const)(
  "attention through %s",
  (tiling) => {
    let pair: Pair;
    beforeAll(async () => {
      pair = await createPair({ tiling });
    });
    afterAll(() => pair.dispose());

    it.each(CASES)("agrees with its gradients: %s", async (_, sizes, attributes) => {
      await pair.agree((backend) => outputAndGradients(backend, sizes, attributes), 2e-5);
    });

    it("leaves masked keys out, and gives zeros to a query that sees none", async () => {
      for (const causal of [false, true]) {
        await pair.agree(
          (backend) =>
            outputAndGradients(
              backend,
              { ...PLAIN, heads: 4 },
              { causal, scale: 0.35, position: 0 },
              (at) => at % 3 === 1 || at < 2 || at === 7,
            ),
          2e-5,
        );
      }
    });

    it.each([{ queries: 0 }, { keys: 0 }, { batch: 0 }, { width: 0 }, { valueWidth: 0 }])(
      "takes nothing: %o",
      async (empty) => {
        await pair.agree((backend) =>
          outputAndGradients(
            backend,
            { ...PLAIN, ...empty },
            { causal: false, scale: 1, position: 0 },
          ),
        );
      },
    );

    it("gives a query the same bits however many keys there are", async () => {
      const sizes = { ...PLAIN, batch: 1, queries: 3, keys: 300, width: 4 };
      const [q, k, v] = inputs(pair.gpu, sizes);
      const read = (keys: number): Promise<unknown> => {
        const [some, values] = [k, v].map((x) =>
          slice(x, { starts: [0, 0, 0, 0], sizes: x.shape.with(1, keys) }),
        ) as [Tensor, Tensor];
        const attributes = { causal: true, scale: 0.4, position: 200 };
        return attention(q, some, values, undefined, undefined, attributes).read();
      };
      expect(await read(203)).toEqual(await read(300));
    });

    it("gives a query the same bits in prefill, in decoding and under other queries", async () => {
      const sizes = { ...PLAIN, batch: 1, queries: 100, keys: 100, heads: 4, width: 20 };
      const [q, k, v] = inputs(pair.gpu, sizes);
      const all = await attention(q, k, v, undefined, undefined, {
        causal: true,
        scale: 0.2,
        position: 0,
      }).read();
      for (const position of [0, 5, 64, 99]) {
        const one = slice(q, { starts: [0, position, 0, 0], sizes: [1, 1, 4, 20] });
        const found = await attention(one, k, v, undefined, undefined, {
          causal: true,
          scale: 0.2,
          position,
        }).read();
        expect(found).toEqual(all.slice(position * 4 * 8, (position + 1) * 4 * 8));
      }
    });
  },
);

describe.skipIf(!gpu.available)("attention", () => {
  it("does not look at keys that no query sees, nor at later or masked ones", async () => {
    const pair = await createPair();
    const values = Float32Array.from({ length: 6 * 8 }, (_, at) =>
      at >= 4 * 8 || Math.floor(at / 8) === 1 ? Number.NaN : at % 5,
    );
    const k = pair.gpu.tensor(values, { shape: [1, 6, 1, 8] });
    const q = randomTensor(pair.gpu, 1, [1, 3, 1, 8]);
    const mask = maskOf(pair.gpu, { ...PLAIN, batch: 1, keys: 6 }, (at) => at === 1);
    const found = await attention(q, k, k, mask, undefined, {
      causal: true,
      scale: 0.3,
      position: 1,
    }).read();
    expect([...found].every(Number.isFinite)).toBe(true);
    // The key behind the first two queries is NaN: the third alone sees it.
    const later = await attention(q, k, k, mask, undefined, {
      causal: true,
      scale: 0.3,
      position: 2,
    }).read();
    expect([...later].map((value) => Number.isFinite(value))).toEqual(
      Array.from({ length: 24 }, (_, at) => at < 16),
    );
    await pair.dispose();
  });

  it("needs no more than the default limits", async () => {
    const pair = await createPair({ limits: "default", features: [] });
    await pair.agree((backend) => {
      const attributes = { causal: true, scale: 0.35, position: 0 };
      return outputAndGradients(backend, { ...PLAIN, heads: 4 }, attributes, (at) => at % 4 === 1);
    }, 2e-5);
    await pair.dispose();
  });

  it("cuts its work into pieces, in segments, without another bit", async () => {
    const pairs = await Promise.all([createPair({ segmentBytes: 1024 }), createPair()]);
    const sizes = { ...PLAIN, queries: 5, keys: 9, heads: 4, keyHeads: 2, width: 4, valueWidth: 4 };
    const outputs = await Promise.all(
      pairs.map(async (pair) => {
        const attributes = { causal: true, scale: 0.5, position: 3 };
        await pair.agree((backend) => outputAndGradients(backend, sizes, attributes), 2e-5);
        return attention(...inputs(pair.gpu, sizes), undefined, undefined, attributes).read();
      }),
    );
    expect(outputs[0]).toEqual(outputs[1]);
    for (const pair of pairs) await pair.dispose();
  });
});
