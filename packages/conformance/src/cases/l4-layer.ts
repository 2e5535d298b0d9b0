import { type Tensor, apply, broadcast, putAlong, randomKey } from "@moiety/core";
import type { BoundedValues, CaseContext, ConformanceCase } from "../case.ts";
import type { HostTensor } from "../host-tensor.ts";
import { GPT_OSS, USUAL } from "./l3-ffn-support.ts";
import {
  type CaseParts,
  at,
  caseOf,
  observed,
  pickRows,
  present,
  referenced,
  rowsOf,
} from "./l3-support.ts";
import {
  LAYER_OPS,
  type LayerOptions,
  layerHosts,
  layerOf,
  layerParams,
} from "./l4-layer-support.ts";

/** A case of a whole layer. */
export const layerCase = (
  what: string,
  demand: string,
  run: (test: CaseContext) => Promise<void>,
  more: Partial<CaseParts> = {},
): ConformanceCase => caseOf("L4", `layer/${what}`, { demand, ops: LAYER_OPS, run, ...more });

const SHAPE = { experts: 8, topK: 2, input: 16, inner: 10 } as const;

/**
 * A layer with its own routing, end to end. Choices that no rounding can change must be the oracle's;
 * the few others may be any that the oracle's bounds allow, and are played back on the oracle, so that
 * every token's output is held to it. More than 2 % of such tokens are an error of the inputs.
 */
async function endToEnd(test: CaseContext, options: LayerOptions, x: HostTensor): Promise<void> {
  const inputs = {
    ...layerHosts(test.random, options),
    x,
    chosen: undefined as HostTensor | undefined,
  };
  const body = (given: { readonly [Name in keyof typeof inputs]: Tensor | undefined }) => {
    const { x: input, chosen: indices, ...params } = given;
    const layer = layerOf({ ...options, indices });
    const { output, routing, load } = apply(
      layer,
      layerParams(params as Parameters<typeof layerParams>[0]),
      { router: {} },
      input as Tensor,
    );
    if (routing.kind !== "token-choice") throw new TypeError("a layer of the kit chooses by token");
    const { indices: chosen, outputWeights: weights, logits } = routing;
    return { output, indices: chosen, weights, logits, load };
  };
  const own = await referenced(test, inputs, body);
  const got = await observed(test, inputs, body);
  // Between groups a lower logit may win.
  const logits = options.spec?.groups ? undefined : at(own, "logits");
  const ambiguous = checkChoices(test, at(got, "indices"), at(own, "indices"), logits);
  test.note("ambiguousTokens", ambiguous);
  const tokens = at(got, "indices").shape[0] ?? 0;
  if (ambiguous > 0.02 * tokens) test.poor(`${ambiguous} of ${tokens} tokens choose ambiguously`);
  test.within("logits", at(got, "logits"), at(own, "logits"));
  const replayed = await referenced(test, { ...inputs, chosen: at(got, "indices") }, body);
  for (const name of ["output", "weights", "load"]) {
    test.within(name, at(got, name), at(replayed, name));
  }
}

/** Checks the choices of tokens that are clear, and counts the others. */
function checkChoices(
  test: CaseContext,
  got: HostTensor,
  wanted: BoundedValues,
  logits: BoundedValues | undefined,
): number {
  const [, topK = 1] = got.shape;
  let ambiguous = 0;
  for (const [token, chosen] of rowsOf(got).entries()) {
    const open = wanted.bounds
      .subarray(token * topK, (token + 1) * topK)
      .some((bound) => bound > 0);
    if (open) ambiguous++;
    const distinct = new Set(chosen).size === topK;
    test.expect(distinct, `token ${token} chose [${chosen.join()}]`);
    const oracle = wanted.values.subarray(token * topK, (token + 1) * topK);
    if (open) {
      if (logits) checkBand(test, token, [...chosen], logits);
    } else {
      test.expect(
        chosen.join() === oracle.join(),
        `token ${token} chose [${chosen.join()}] instead of [${oracle.join()}]`,
      );
    }
  }
  return ambiguous;
}

/** No expert that was left out may be above one that was chosen by more than both may be off. */
function checkBand(
  test: CaseContext,
  token: number,
  chosen: readonly number[],
  { values, bounds, shape }: BoundedValues,
): void {
  const experts = shape[1] ?? 0;
  const known = chosen.every((expert) => expert >= 0 && expert < experts);
  test.expect(known, `token ${token} chose [${chosen.join()}]`);
  const low = (expert: number): number =>
    (values[token * experts + expert] ?? 0) - (bounds[token * experts + expert] ?? 0);
  const high = (expert: number): number =>
    (values[token * experts + expert] ?? 0) + (bounds[token * experts + expert] ?? 0);
  for (let expert = 0; expert < experts; expert++) {
    if (chosen.includes(expert)) continue;
    const worst = chosen.find((one) => high(one) < low(expert));
    test.expect(
      worst === undefined,
      `token ${token} chose expert ${worst} though expert ${expert} is certainly better`,
    );
  }
}

const endCase = (
  what: string,
  demand: string,
  options: LayerOptions,
  tokens = 33,
  more?: Partial<CaseParts>,
): ConformanceCase =>
  layerCase(
    what,
    demand,
    (test) => endToEnd(test, options, test.random.normal([tokens, options.shape.input])),
    more,
  );

const ends: readonly ConformanceCase[] = [
  endCase("own-routing", "a layer routes, runs its experts and combines", { shape: SHAPE }, 65),
  endCase("wide", "a layer whose widths are off every tile", {
    shape: { experts: 8, topK: 2, input: 65, inner: 33, output: 66 },
  }),
  ...[0, 1, 2, 8, 9, 130].map((tokens) =>
    endCase(`tokens-${tokens}`, `a layer of ${tokens} tokens`, { shape: SHAPE }, tokens),
  ),
  endCase("one-choice", "one choice each: k = 1", { shape: { ...SHAPE, topK: 1 } }),
  endCase("all-experts", "every expert chosen: k = E", { shape: { ...SHAPE, topK: 8 } }),
  endCase("many-experts", "k = 8 of 64", {
    shape: { experts: 64, topK: 8, input: 24, inner: 4 },
    spec: { score: "sigmoid", scale: 2.5 },
  }),
  endCase("other-width", "a bank may give another width than it takes", {
    shape: { ...SHAPE, output: 11 },
  }),
  endCase("gpt-oss", "a layer as gpt-oss has it", {
    shape: SHAPE,
    bank: GPT_OSS,
    spec: { score: "identity", weight: "softmaxOfChosen", renormalize: undefined },
  }),
  endCase("input-weights", "weights may apply to the experts' inputs", {
    shape: { ...SHAPE, topK: 1 },
    spec: { score: "sigmoid", site: "input", renormalize: undefined },
  }),
  endCase("rows", "a bank without the fused op runs on rows", { shape: SHAPE, plain: true }),
  endCase(
    "groups",
    "only the best groups of experts are chosen from",
    {
      shape: SHAPE,
      spec: { groups: { count: 4, topK: 2, score: { top: 2 }, fill: "mask" } },
    },
    33,
    { ops: [...LAYER_OPS, putAlong, broadcast] },
  ),
  ...(["add", "average", "gate", "softmax2"] as const).map((merge) =>
    endCase(`shared-${merge}`, `a shared branch joins by ${merge}`, { shape: SHAPE, merge }),
  ),
];

const rest: readonly ConformanceCase[] = [
  layerCase("leading-dimensions", "tokens may stand in any leading dimensions", async (test) => {
    const options: LayerOptions = { shape: SHAPE };
    const inputs = { ...layerHosts(test.random, options), x: test.random.normal([12, 16]) };
    const got = await observed(test, inputs, (given) => {
      const run = (x: Tensor): Tensor =>
        apply(layerOf(options), layerParams(given), { router: {} }, x).output;
      return {
        flat: run(given.x),
        block: run(given.x.reshape([2, 2, 3, 16])).reshape([12, 16]),
      };
    });
    const [flat, block] = [at(got, "flat"), at(got, "block")];
    if (test.capabilities.determinism === "bitwise") test.same("block", block.data, flat.data);
  }),
  layerCase(
    "initial-bits",
    "initial parameters are the same bits on every backend",
    async (test) => {
      const options: LayerOptions = { shape: SHAPE };
      const inputs = { none: test.random.normal([1]) };
      const wanted = await referenced(test, inputs, (_, { backend, float }) => {
        const { params } = layerOf(options).init(randomKey(7), { backend, dtype: float });
        return { router: params.router.weight, up: params.experts.up, down: params.experts.down };
      });
      const got = await observed(test, inputs, (_, { backend, float }) => {
        const { params } = layerOf(options).init(randomKey(7), { backend, dtype: float });
        return { router: params.router.weight, up: params.experts.up, down: params.experts.down };
      });
      for (const [name, { values }] of Object.entries(wanted)) {
        test.same(name, at(got, name).data, Float32Array.from(values));
      }
    },
  ),
  layerCase(
    "nan-token",
    "a token that is NaN has an output that is NaN, and nobody else's changes",
    async (test) => {
      const options: LayerOptions = { shape: SHAPE, bank: USUAL };
      const clean = { ...layerHosts(test.random, options), x: test.random.normal([33, 16]) };
      const width = 16;
      const data = clean.x.data.slice();
      data.fill(Number.NaN, 4 * width, 5 * width);
      const body = (given: Parameters<typeof layerParams>[0] & { readonly x: Tensor }) => ({
        y: apply(layerOf(options), layerParams(given), { router: {} }, given.x).output,
      });
      const before = at(
        await test.observe(present(clean), (run) => body(run.inputs as never)),
        "y",
      );
      const dirty = { ...clean, x: { ...clean.x, data } };
      const after = at(await test.observe(present(dirty), (run) => body(run.inputs as never)), "y");
      const others = Array.from({ length: 33 }, (_, token) => token).filter((token) => token !== 4);
      const [was, is] = [pickRows(before, others), pickRows(after, others)];
      test.expect(
        is.data.every((value) => Number.isFinite(value)),
        "NaN of one token reached another",
      );
      if (test.capabilities.determinism === "bitwise") test.same("other tokens", is.data, was.data);
      const own = rowsOf(after)[4] ?? [];
      test.expect(
        own.every((value) => Number.isNaN(value)),
        "the output of a token that is NaN is not NaN",
      );
    },
  ),
];

/** Cases of a layer with its own routing. */
export const layerCases: readonly ConformanceCase[] = [...ends, ...rest];
