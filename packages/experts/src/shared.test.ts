import { afterAll, beforeAll, describe, expect, it } from "vitest";
import create from "@moiety/backend-cpu";
import {
  type Backend,
  ConfigError,
  type Merge,
  ShapeError,
  type Tensor,
  at,
  hostNormal,
  leavesOf,
  mergeShared,
  mixExperts,
  mul,
  randomKey,
  sizeOf,
  sum,
  valueAndGrad,
} from "@moiety/core";
import { denseFfn } from "./dense.ts";
import { glu } from "./glu.ts";
import type { GluParams } from "./params.ts";
import { type SharedExpertParams, sharedExpert } from "./shared.ts";

let backend: Backend;

beforeAll(async () => {
  backend = await create();
});

afterAll(() => backend.dispose());

const options = {
  hiddenSize: 4,
  intermediateSize: 3,
  activation: "silu",
  gated: true,
  initializerRange: 0.8,
} as const;

const random = (seed: number, shape: readonly number[]): Tensor =>
  backend.tensor(hostNormal(randomKey(seed), sizeOf(shape)), { shape });

const merges: readonly Merge[] = ["add", "average", "gate", "softmax2"];

describe("denseFfn", () => {
  it("is one expert for all tokens", async () => {
    const dense = denseFfn(options);
    const { params } = dense.init(randomKey(1), { backend, dtype: "f64" });
    if (!("gateUp" in params)) throw new Error("not gated");
    const bank = glu({ ...options, experts: 1 });
    const x = random(2, [5, 4]);
    const indices = backend.tensor(new Int32Array(5), { shape: [5, 1] });
    const ones = backend.tensor(new Float64Array(5).fill(1), { shape: [5, 1] });
    const { gateUp, down } = params as GluParams;
    const expected = mixExperts(
      bank,
      { gateUp: gateUp.reshape([1, 6, 4]), down: down.reshape([1, 4, 3]) },
      x,
      {
        kind: "token-choice",
        experts: 1,
        logits: ones,
        scores: ones,
        indices,
        selected: indices,
        outputWeights: ones,
      },
    );
    expect([...(await dense.forward(params, x).read())]).toEqual([...(await expected.read())]);
  });

  it("keeps leading dimensions, has biases and widths of its own", async () => {
    const dense = denseFfn({ ...options, gated: false, bias: true, outputSize: 2 });
    const { params } = dense.init(randomKey(1), { backend });
    const shapes = leavesOf(params).map(({ path, leaf }) => [path, (leaf as Tensor).shape]);
    expect(Object.fromEntries(shapes)).toEqual(dense.shapes);
    expect(dense.shapes).toEqual({ up: [3, 4], upBias: [3], down: [2, 3], downBias: [2] });
    const x = backend.tensor(new Float32Array(24), { shape: [2, 3, 4] });
    expect(dense.forward(params, x).shape).toEqual([2, 3, 2]);
    expect(() => dense.forward(params, x.reshape([2, 4, 3]))).toThrow(ShapeError);
  });
});

describe.each(merges)("a shared expert with merge %s", (merge) => {
  const branch = () => sharedExpert({ ...options, merge });

  it("joins the routed output as it says", async () => {
    const one = branch();
    const { params } = one.init(randomKey(1), { backend, dtype: "f64" });
    const [x, routed] = [random(2, [5, 4]), random(3, [5, 4])];
    const [merged, shared, y, input] = await Promise.all(
      [mergeShared(one, params, x, routed), one.forward(params, x), routed, x].map(
        async (tensor) => [...(await tensor.read())],
      ),
    );
    const weights = params.gate ? [...(await params.gate.read())] : [];
    for (let token = 0; token < 5; token++) {
      const row = input?.slice(4 * token, 4 * token + 4) ?? [];
      const logit = (which: number): number =>
        row.reduce((total, value, i) => total + value * (weights[4 * which + i] ?? 0), 0);
      for (let column = 0; column < 4; column++) {
        const [r = 0, s = 0] = [y?.[4 * token + column], shared?.[4 * token + column]];
        const share = 1 / (1 + Math.exp(logit(1) - logit(0)));
        const expected = {
          add: r + s,
          average: (r + s) / 2,
          gate: r + s / (1 + Math.exp(-logit(0))),
          softmax2: r * share + s * (1 - share),
        }[merge];
        expect(merged?.[4 * token + column]).toBeCloseTo(expected, 12);
      }
    }
  });

  it("states its shapes and has the gradient of central differences", async () => {
    const one = branch();
    const { params } = one.init(randomKey(1), { backend, dtype: "f64" });
    const leaves = leavesOf(params);
    for (const { path, leaf } of leaves) {
      expect(at(one.shapes, path)).toEqual((leaf as Tensor).shape);
    }
    expect(params.gate?.shape).toEqual(
      { add: undefined, average: undefined, gate: [1, 4], softmax2: [2, 4] }[merge],
    );
    const [x, routed, upstream] = [random(2, [5, 4]), random(3, [5, 4]), random(4, [5, 4])];
    const loss = (p: SharedExpertParams): Tensor =>
      sum(mul(mergeShared(one, p, x, routed), upstream));
    const { grads } = valueAndGrad(loss)(params);
    for (const { path, leaf } of leaves) {
      const values = (await (leaf as Tensor).read()) as Float64Array;
      const gradient = (await (at(grads, path) as Tensor).read()) as Float64Array;
      const shifted = async (by: number): Promise<number> => {
        const moved = backend.tensor(values.with(0, (values[0] ?? 0) + by), {
          shape: (leaf as Tensor).shape,
        });
        const [first = "", second] = path.split(".");
        const tree = second
          ? { ...params, ffn: { ...params.ffn, [second]: moved } }
          : { ...params, [first]: moved };
        return loss(tree).item();
      };
      const numeric = ((await shifted(1e-5)) - (await shifted(-1e-5))) / 2e-5;
      expect(numeric / (gradient[0] ?? Number.NaN), path).toBeCloseTo(1, 6);
    }
  });
});

it("refuses an unknown merge and a missing gate", () => {
  expect(() => sharedExpert({ ...options, merge: "max" as Merge })).toThrow(ConfigError);
  const branch = sharedExpert({ ...options, merge: "gate" });
  const { params } = branch.init(randomKey(1), { backend, dtype: "f64" });
  const x = random(2, [5, 4]);
  expect(() => mergeShared(branch, { ffn: params.ffn }, x, x)).toThrow(/params\.gate is missing/);
});
