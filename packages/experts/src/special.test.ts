import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import {
  type Backend,
  ConfigError,
  type ExpertChoice,
  type Soft,
  type Tensor,
  UnsupportedError,
  apply,
  applyAsync,
  mixExperts,
  moe,
  randomKey,
  softmax,
} from "@moiety/core";
import { linearRouter } from "@moiety/routers";
import type { ShapedBank } from "./bank.ts";
import { glu } from "./glu.ts";
import { linearExperts } from "./linear.ts";
import { type SpecialExperts, withSpecialExperts } from "./special.ts";
import { times } from "./testing/reference.ts";
import {
  distance,
  drawRouting,
  matrixOf,
  mixNaively,
  random,
  routingOf,
  rowsOf,
} from "./testing/routing.ts";

let backend: Backend;

beforeAll(async () => {
  backend = await create();
});

afterAll(() => backend.dispose());

const [WIDTH, TOKENS] = [3, 9];
const networks = linearExperts({ experts: 2, hiddenSize: WIDTH, initializerRange: 1 });
// Ids: 0 and 1 networks, 2 and 3 constants, 4 identity, 5 and 6 zero.
const bank = withSpecialExperts(
  networks,
  [
    { kind: "constant", count: 2 },
    { kind: "identity", count: 1 },
    { kind: "zero", count: 2 },
  ],
  { initializerRange: 1 },
);

/** Every expert by hand. */
async function byHand() {
  const { params } = bank.init(randomKey(1), { backend, dtype: "f64" });
  const { gate, constant } = params;
  if (!gate || !constant) throw new Error("no constant experts");
  const matrices = await Promise.all([0, 1].map((id) => matrixOf(params.bank.weight, id)));
  const gates = await Promise.all([0, 1].map((id) => matrixOf(gate, id)));
  const constants = await rowsOf(constant);
  const expert = (id: number, x: readonly number[]): readonly number[] => {
    if (id < 2) return times(matrices[id] ?? [], x);
    if (id === 4) return x;
    if (id > 4) return x.map(() => 0);
    const [a = 0, b = 0] = times(gates[id - 2] ?? [], x).map(Math.exp);
    return x.map((value, at) => (a * value + b * (constants[id - 2]?.[at] ?? 0)) / (a + b));
  };
  return { params, expert };
}

describe("withSpecialExperts", () => {
  it.each([false, true])("gives each id its expert (input weights: %s)", async (weighInput) => {
    const { params, expert } = await byHand();
    const hand = drawRouting(2, TOKENS, 3, bank.experts, weighInput);
    const ids = new Set(hand.choices.flat());
    for (let id = 0; id < bank.experts; id++) expect(ids).toContain(id);
    const x = random(backend, 3, [TOKENS, WIDTH]);
    const found = await rowsOf(mixExperts(bank, params, x, routingOf(backend, hand)));
    expect(distance(found, mixNaively(hand, await rowsOf(x), WIDTH, expert))).toBeLessThan(1e-13);
  });

  it("serves experts that choose their tokens", async () => {
    const { params, expert } = await byHand();
    const x = random(backend, 3, [TOKENS, WIDTH]);
    const tokens = [
      [0, 3],
      [1, 9],
      [2, 4],
      [5, 0],
      [8, 1],
      [7, 2],
      [6, 9],
    ];
    const weights = random(backend, 4, [1, 7, 2]);
    const logits = random(backend, 5, [TOKENS, 7]);
    const routing: ExpertChoice = {
      kind: "expert-choice",
      experts: 7,
      logits,
      scores: logits,
      tokens: backend.tensor(Int32Array.from(tokens.flat()), { shape: [1, 7, 2] }),
      weights,
    };
    const rows = await rowsOf(x);
    const factors = [...(await weights.read())];
    const expected = rows.map((row, token) => {
      const total = row.map(() => 0);
      for (const [id, chosen] of tokens.entries()) {
        for (const [place, one] of chosen.entries()) {
          if (one !== token) continue;
          const output = expert(id, row);
          for (const at of row.keys()) {
            total[at] = (total[at] ?? 0) + (factors[2 * id + place] ?? 0) * (output[at] ?? 0);
          }
        }
      }
      return total;
    });
    const found = await rowsOf(mixExperts(bank, params, x, routing));
    expect(distance(found, expected)).toBeLessThan(1e-13);
  });

  it("serves slots", async () => {
    const { params, expert } = await byHand();
    const x = random(backend, 3, [TOKENS, WIDTH]);
    const logits = random(backend, 5, [TOKENS, 7]);
    const mixing = softmax(random(backend, 6, [1, TOKENS, 7]));
    const routing: Soft = {
      kind: "soft",
      experts: 7,
      logits,
      scores: logits,
      slots: 1,
      dispatch: mixing,
      combine: mixing,
    };
    const shares = await rowsOf(mixing.reshape([TOKENS, 7]));
    const rows = await rowsOf(x);
    const column = (of: readonly (readonly number[])[], id: number): number[] =>
      Array.from({ length: WIDTH }, (_, at) =>
        of.reduce((total, row, token) => total + (row[at] ?? 0) * (shares[token]?.[id] ?? 0), 0),
      );
    const slots = Array.from({ length: 7 }, (_, id) => expert(id, column(rows, id)));
    const expected = shares.map((share) =>
      Array.from({ length: WIDTH }, (_, at) =>
        slots.reduce((total, slot, id) => total + (share[id] ?? 0) * (slot[at] ?? 0), 0),
      ),
    );
    const found = await rowsOf(mixExperts(bank, params, x, routing));
    expect(distance(found, expected)).toBeLessThan(1e-13);
  });

  it("costs no matrix product beside those of the fused op", () => {
    const fused = withSpecialExperts(
      glu({ experts: 2, hiddenSize: WIDTH, intermediateSize: 4, activation: "silu" }),
      [
        { kind: "identity", count: 1 },
        { kind: "zero", count: 1 },
      ],
    );
    const { params } = fused.init(randomKey(1), { backend, dtype: "f64" });
    const x = random(backend, 3, [TOKENS, WIDTH]);
    backend.resetRecord();
    mixExperts(fused, params, x, routingOf(backend, drawRouting(2, TOKENS, 2, 4)));
    const ran = backend.record();
    expect(ran["moeFfn"]).toBeDefined();
    // The oracle takes the fused op apart: one product up, one down.
    expect(ran["groupedMatmul"]?.kernel).toBe(2);
    expect(ran["matmul"]).toBeUndefined();
  });

  it("is a layer's bank behind a router of all experts", () => {
    const layer = moe({
      router: linearRouter({ inputSize: WIDTH, spec: { experts: 7, topK: 2, score: "softmax" } }),
      experts: bank,
    });
    const { params, state } = layer.init(randomKey(1), { backend, dtype: "f64" });
    const { output, load } = apply(layer, params, state, random(backend, 3, [TOKENS, WIDTH]));
    expect(output.shape).toEqual([TOKENS, WIDTH]);
    expect(load.shape).toEqual([7]);
  });
});

describe("a bank that loads its experts", () => {
  it("sees only its own choices", async () => {
    const seen: Tensor[] = [];
    const loading: ShapedBank<Awaited<ReturnType<typeof byHand>>["params"]["bank"]> = {
      ...networks,
      prepare(_params, routing) {
        if (routing.kind === "token-choice") seen.push(routing.indices);
        return Promise.resolve();
      },
    };
    const layer = moe({
      router: linearRouter({ inputSize: WIDTH, spec: { experts: 5, topK: 2, score: "softmax" } }),
      experts: withSpecialExperts(loading, [{ kind: "identity", count: 3 }]),
    });
    const { params, state } = layer.init(randomKey(3), { backend, dtype: "f64" });
    const x = random(backend, 3, [TOKENS, WIDTH]);
    let ids: number[] = [];
    const { output } = await applyAsync(layer, params, state, x);
    expect(output.shape).toEqual([TOKENS, WIDTH]);
    expect(seen).toHaveLength(1);
    expect(seen[0]?.shape).toEqual([TOKENS, 2]);
    const { prepare } = withSpecialExperts(loading, [{ kind: "zero", count: 3 }]);
    const routing = routingOf(backend, drawRouting(2, TOKENS, 2, 5));
    await prepare?.({ bank: params.experts.bank }, routing);
    ids = [...((await seen[1]?.read()) ?? [])];
    const all = [...(await routing.indices.read())];
    expect(ids).toEqual(all.map((id) => Math.min(id, 2)));
    expect(all.some((id) => id > 2)).toBe(true);
  });

  it("is refused where it runs elsewhere", () => {
    const remote = { ...networks, remote: () => Promise.reject(new Error("not here")) };
    expect(() => withSpecialExperts(remote, [{ kind: "zero", count: 1 }])).toThrow(ConfigError);
  });

  it("needs a routing by tokens", async () => {
    const loading = { ...networks, prepare: () => Promise.resolve() };
    const { prepare } = withSpecialExperts(loading, [{ kind: "zero", count: 1 }]);
    const { params } = networks.init(randomKey(1), { backend });
    const logits = random(backend, 5, [TOKENS, 3]);
    const soft: Soft = {
      kind: "soft",
      experts: 3,
      logits,
      scores: logits,
      slots: 1,
      dispatch: logits,
      combine: logits,
    };
    await expect(prepare?.({ bank: params }, soft)).rejects.toThrow(UnsupportedError);
  });
});

describe("bad input", () => {
  it.each<[string, unknown, readonly SpecialExperts[]]>([
    ["special", "empty", []],
    ["kind", "copy", [{ kind: "copy" as "zero", count: 1 }]],
    [
      "kind",
      "zero",
      [
        { kind: "zero", count: 1 },
        { kind: "zero", count: 2 },
      ],
    ],
    ["count", 0, [{ kind: "zero", count: 0 }]],
    ["count", 1.5, [{ kind: "identity", count: 1.5 }]],
  ])("is named: %s %s", (key, value, special) => {
    const make = () => withSpecialExperts(networks, special);
    expect(make).toThrow(ConfigError);
    expect(make).toThrow(expect.objectContaining({ key, value }) as Error);
  });

  it("wants equal widths for what returns its input", () => {
    const narrow = linearExperts({ experts: 2, hiddenSize: WIDTH, outputSize: 2 });
    for (const kind of ["identity", "constant"] as const) {
      expect(() => withSpecialExperts(narrow, [{ kind, count: 1 }])).toThrow(/width/u);
    }
    expect(withSpecialExperts(narrow, [{ kind: "zero", count: 1 }]).outputSize).toBe(2);
  });

  it("refuses a routing of another number of experts, and missing parameters", async () => {
    const { params } = await byHand();
    const x = random(backend, 3, [TOKENS, WIDTH]);
    const routing = routingOf(backend, drawRouting(2, TOKENS, 2, 2));
    expect(() => mixExperts(bank, params, x, routing)).toThrow(/2 experts, but .* 7/u);
    const whole = routingOf(backend, drawRouting(2, TOKENS, 2, 7));
    expect(() => mixExperts(bank, { bank: params.bank }, x, whole)).toThrow(/params\.constant/u);
  });
});
