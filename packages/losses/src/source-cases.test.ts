import {
  type RoutingLoss,
  type Tensor,
  type TokenChoice,
  add,
  mul,
  valueAndGrad,
} from "@moiety/core";
import { expect, it } from "vitest";
import {
  deepspeedBalance,
  flaxformerBalance,
  gshardBalance,
  importanceCv,
  megatronBalance,
  nllbBalance,
  stMoeBalance,
  zLoss,
} from "./index.ts";
import { f64, i32, route, values } from "./testing/routings.ts";
import { type SourceCase, sourceCases } from "./testing/source-cases.ts";

const coefficient = 1;
const losses: Readonly<Record<string, RoutingLoss>> = {
  deepspeed_gating: deepspeedBalance({ coefficient }),
  flaxformer_routing: flaxformerBalance({ coefficient }),
  megatron_topk: megatronBalance({ coefficient }),
  nllb_moe: nllbBalance({ coefficient }),
  st_moe: stMoeBalance({ coefficient }),
  vmoe_block: gshardBalance({ coefficient, per: "sequence", shares: "float32" }),
};
const lossOf = ({ name }: SourceCase): RoutingLoss => {
  const loss = losses[name.slice(0, name.indexOf("/"))];
  if (loss === undefined) throw new Error(`no loss for ${name}`);
  return loss;
};

function routingOf(one: SourceCase, logits: Tensor): TokenChoice {
  const { experts, topK, groups, score, name } = one;
  const tokens = one.logits.length / experts;
  const sequences = Array.from({ length: groups + 1 }, (_, group) => (group * tokens) / groups);
  const places = { factor: 1.25 / topK, rounding: "floor", minimum: 4 } as const;
  const capacity = name.startsWith("st_moe")
    ? ({ size: places, per: "sequence", order: "choice" } as const)
    : undefined;
  return route({ experts, k: topK, score, logits, sequences, capacity });
}

it.each(sourceCases)("$name", async (one) => {
  const loss = lossOf(one);
  const start = f64(one.short ? one.logits.map(Math.fround) : one.logits, [
    one.logits.length / one.experts,
    one.experts,
  ]);
  const z = zLoss({ coefficient });
  if (one.weights) {
    const plain = routingOf(one, start);
    const weights = one.weights;
    const kept = (await values(plain.selected)).map((expert, at) =>
      (weights[at] ?? 0) > 0 ? expert : one.experts,
    );
    const { shape } = plain.selected;
    const routing = { ...plain, indices: i32(kept, shape), outputWeights: f64(weights, shape) };
    expect(await loss.evaluate([routing]).item()).toBeCloseTo(one.value, 12);
    return;
  }
  const routing = routingOf(one, start);
  expect(await loss.evaluate([routing]).item()).toBeCloseTo(one.value, 12);
  if (one.z !== undefined) expect(await z.evaluate([routing]).item()).toBeCloseTo(one.z, 11);
  if (one.importance !== undefined) {
    const importance = importanceCv({
      coefficient,
      of: "cleanScores",
      per: "sequence",
      epsilon: 0,
    });
    expect(await importance.evaluate([routing]).item()).toBeCloseTo(one.importance, 12);
  }
  const { gradient } = one;
  if (gradient === undefined) return;
  const { grads } = valueAndGrad((p: { logits: Tensor }) => {
    const routings = [routingOf(one, p.logits)];
    const value = loss.evaluate(routings);
    if (one.z === undefined) return value;
    return add(mul(value, 0.01), mul(z.evaluate(routings), 0.001));
  })({ logits: start });
  const found = await values(grads.logits);
  expect(found).toHaveLength(gradient.length);
  gradient.forEach((wanted, at) => expect(found[at]).toBeCloseTo(wanted, 12));
});

it("has a case of every source", () => {
  const seen = new Set(sourceCases.map(({ name }) => name.slice(0, name.indexOf("/"))));
  expect([...seen].sort()).toEqual(Object.keys(losses).sort());
});
