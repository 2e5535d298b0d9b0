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
import { type Pair, createPair, randomTensor } from "../../../testing/oracle.ts";

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
  // Gradients are compared as a whole: that of a query which sees one key is 0 but for rounding.
  const whole = (grads as readonly Tensor[]).map((gradient) => gradient.reshape([gradient.size]));
  return [attention(...given, mask, undefined, attributes), ...whole];
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
    "odd widths of one query",
    { ...PLAIN, queries: 1, width: 11, valueWidth: 61 },
    { causal: false, scale: 0.3, position: 0 },
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
  [
    "many small pairs",
    { ...PLAIN, batch: 90, queries: 5, keys: 5, width: 4, valueWidth: 4 },
    { causal: true, scale: 0.5, position: 0 },
  ],
];

describe.each([{ threads: 1 }, { threads: 3, exact: true }])("attention with %o", (options) => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await createPair(options);
  });
  afterAll(() => pair.dispose());

  it.each(CASES)("agrees with its gradients: %s", async (_, sizes, attributes) => {
    await pair.agree((backend) => outputAndGradients(backend, sizes, attributes), 2e-5);
  });

  it("leaves masked keys out, and gives zeros to a query that sees none", async () => {
    for (const causal of [false, true]) {
      for (const queries of [1, 7]) {
        await pair.agree(
          (backend) =>
            outputAndGradients(
              backend,
              { ...PLAIN, heads: 4, queries },
              { causal, scale: 0.35, position: 0 },
              (at) => at % 3 === 1 || at < 2 || at === 7,
            ),
          2e-5,
        );
      }
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
    const [q, k, v] = inputs(pair.wasm, sizes);
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
    const sizes = { ...PLAIN, batch: 1, queries: 100, keys: 100, heads: 4, width: 21 };
    const [q, k, v] = inputs(pair.wasm, sizes);
    for (const mask of [undefined, maskOf(pair.wasm, sizes, (at) => at % 4 === 2)]) {
      const all = await attention(q, k, v, mask, undefined, {
        causal: true,
        scale: 0.2,
        position: 0,
      }).read();
      for (const [position, count] of [
        [0, 1],
        [5, 1],
        [64, 3],
        [99, 1],
        [13, 11],
      ] as const) {
        const some = slice(q, { starts: [0, position, 0, 0], sizes: [1, count, 4, 21] });
        const found = await attention(some, k, v, mask, undefined, {
          causal: true,
          scale: 0.2,
          position,
        }).read();
        expect(found).toEqual(all.slice(position * 4 * 8, (position + count) * 4 * 8));
      }
    }
  });

  it("does not look at keys that no query sees, nor at later or masked ones", async () => {
    const tokens = 15;
    const isHidden = (key: number): boolean => key === 1;
    const values = Float32Array.from({ length: tokens * 8 }, (_, at) =>
      at >= 13 * 8 || isHidden(Math.floor(at / 8)) ? Number.NaN : at % 5,
    );
    const backend = pair.wasm;
    const k = backend.tensor(values, { shape: [1, tokens, 1, 8] });
    const mask = maskOf(backend, { ...PLAIN, batch: 1, keys: tokens }, isHidden);
    for (const queries of [2, 6, 12]) {
      const q = randomTensor(backend, 1, [1, queries, 1, 8]);
      const position = 13 - queries;
      const found = await attention(q, k, k, mask, undefined, {
        causal: true,
        scale: 0.3,
        position,
      }).read();
      expect([...found].every(Number.isFinite)).toBe(true);
      // One key more, which is NaN: the last query alone sees it.
      const later = await attention(q, k, k, mask, undefined, {
        causal: true,
        scale: 0.3,
        position: position + 1,
      }).read();
      expect([...later].map((value) => Number.isFinite(value))).toEqual(
        Array.from({ length: queries * 8 }, (_, at) => at < (queries - 1) * 8),
      );
    }
  });

  it("lets no masked NaN into gradients", async () => {
    const backend = pair.wasm;
    const sizes = { ...PLAIN, batch: 1 };
    const isHidden = (key: number): boolean => key % 3 === 1;
    const strange = (seed: number): Tensor => {
      const shape = [1, 7, 2, 8];
      const values = Float32Array.from({ length: 112 }, (_, at) =>
        isHidden(Math.floor(at / 16)) ? Number.NaN : Math.sin(at * seed),
      );
      return backend.tensor(values, { shape });
    };
    const mask = maskOf(backend, sizes, isHidden);
    const { grads } = valueAndGrad(([q, k, v]: readonly [Tensor, Tensor, Tensor]) =>
      sum(attention(q, k, v, mask, undefined, { causal: true, scale: 0.3, position: 0 })),
    )([randomTensor(backend, 1, [1, 7, 2, 8]), strange(1), strange(2)]);
    for (const gradient of grads as readonly Tensor[]) {
      expect([...(await gradient.read())].every(Number.isFinite)).toBe(true);
    }
  });
});

it("gives the same bits with any number of threads", async () => {
  const sizes = { ...PLAIN, queries: 130, keys: 130, width: 24, valueWidth: 24 };
  const attributes = { causal: true, scale: 0.2, position: 0 };
  const found: unknown[] = [];
  for (const threads of [1, 2, 3]) {
    const pair = await createPair({ threads });
    const outputs = outputAndGradients(pair.wasm, sizes, attributes);
    found.push(await Promise.all(outputs.map((tensor) => tensor.read())));
    await pair.dispose();
  }
  expect(found[1]).toEqual(found[0]);
  expect(found[2]).toEqual(found[0]);
});
