import type { LossSubject, RouterSubject } from "@moiety/conformance";
import { type Routing, type Tensor, type TokenChoice, sum, valueAndGrad } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { SURROGATES, lossSubjects, rewardsOf } from "./losses.ts";
import { ESTIMATORS, routerSubjects } from "./routers.ts";
import { SIZES } from "./sizes.ts";
import { type Leaves, drawn, holdToDifferences, weighed } from "./testing/differences.ts";
import { frozenCall, routed } from "./testing/routed.ts";

/** The tests below, each with what it holds to its published formula. */
const HELD = ["sparseMixerRouter", "reinforceRouter", "stMoeRouter", "reinforceLoss"];

const { experts, topK } = SIZES;
/** ε of the SparseMixer router of the subjects. */
const EPSILON = 0.5;
const WEIGHT = "router.params.weight";

function find<Subject extends { readonly name: string }>(
  subjects: readonly Subject[],
  name: string,
): Subject {
  const subject = subjects.find((one) => one.name === `catalogue/${name}`);
  if (subject === undefined) throw new Error(`there is no ${name}`);
  return subject;
}

function tokenChoice(routing: Routing): TokenChoice {
  if (routing.kind !== "token-choice") throw new Error("tokens do not choose here");
  return routing;
}

async function rowsOf(tensor: Tensor, width: number): Promise<number[][]> {
  const values = [...(await tensor.read())];
  return Array.from({ length: values.length / width }, (_, row) =>
    values.slice(row * width, (row + 1) * width),
  );
}

/** dF/dW = Σ_t slopes_t ⊗ x_t of logits W · x, against the gradient that was found. */
async function expectWeightGradient(
  leaves: Leaves,
  gradient: Tensor | null | undefined,
  slopes: readonly (readonly number[])[],
): Promise<void> {
  const x = await rowsOf(leaves["x"] as Tensor, SIZES.hiddenSize);
  const found = [...((await gradient?.read()) ?? [])];
  const wanted = Array.from({ length: experts * SIZES.hiddenSize }, (_, at) => {
    const [expert, column] = [Math.floor(at / SIZES.hiddenSize), at % SIZES.hiddenSize];
    return x.reduce((total, row, t) => total + (slopes[t]?.[expert] ?? 0) * (row[column] ?? 0), 0);
  });
  expect(found).toHaveLength(wanted.length);
  for (const [at, value] of wanted.entries()) expect(found[at]).toBeCloseTo(value, 10);
  expect(wanted.some((value) => Math.abs(value) > 1e-3)).toBe(true);
}

/** Softmax over the experts that are not taken. */
function openSoftmax(logits: readonly number[], taken: readonly number[]): number[] {
  const powers = logits.map((logit, e) => (taken.includes(e) ? 0 : Math.exp(logit)));
  const total = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / total);
}

/** SparseMixer's: over those of them that are near the best, (m − l) / max(|l|, m) ≤ 2ε. */
function nearSoftmax(logits: readonly number[], taken: readonly number[]): number[] {
  const best = Math.max(...logits.filter((_, e) => !taken.includes(e)));
  const far = logits.flatMap((logit, e) =>
    (best - logit) / Math.max(Math.abs(logit), best) > 2 * EPSILON ? [e] : [],
  );
  return openSoftmax(logits, [...taken, ...far]);
}

describe("estimators", () => {
  it("are all held to what was published of them", () => {
    const named = [...Object.keys(ESTIMATORS), ...Object.keys(SURROGATES)];
    expect(named.sort()).toEqual([...HELD].sort());
    for (const { name, ofFunction } of [...routerSubjects, ...lossSubjects]) {
      const short = name.replace(/^catalogue\//u, "");
      expect([name, ofFunction === false]).toEqual([name, HELD.includes(short)]);
    }
  });

  it("SparseMixer: ∂w_j/∂l = p_j · (onehot(chosen) − p), whatever its third-order factor is", async () => {
    const subject: RouterSubject = find(routerSubjects, "sparseMixerRouter");
    const leaves = await frozenCall(subject);
    const weights = (given: Leaves): TokenChoice => tokenChoice(routed(given, subject));
    const { grads } = valueAndGrad((traced: Leaves) =>
      weighed({ w: weights({ ...leaves, ...traced }).outputWeights }),
    )({ [WEIGHT]: leaves[WEIGHT] as Tensor });
    const routing = weights(leaves);
    const [logits, chosen, given, ups] = await Promise.all([
      rowsOf(routing.logits, experts),
      rowsOf(routing.selected, topK),
      rowsOf(routing.outputWeights, topK),
      rowsOf(drawn(900, routing.outputWeights.shape), topK),
    ]);
    let halved = 0;
    const slopes = logits.map((row, token) => {
      const total = new Array<number>(experts).fill(0);
      for (const [place, expert] of (chosen[token] ?? []).entries()) {
        if (expert === experts) continue;
        const p = nearSoftmax(row, (chosen[token] ?? []).slice(0, place));
        const own = p[expert] ?? 0;
        const factor = (given[token]?.[place] ?? 0) / own;
        if (Math.abs(factor - 0.3333) < 1e-9) halved++;
        else expect(factor).toBeCloseTo(1, 9);
        for (let e = 0; e < experts; e++) {
          total[e] =
            (total[e] ?? 0) +
            (ups[token]?.[place] ?? 0) * own * (Number(e === expert) - (p[e] ?? 0));
        }
      }
      return total;
    });
    // Both outcomes of Heun's draw are there.
    expect(halved).toBeGreaterThan(0);
    await expectWeightGradient(leaves, grads[WEIGHT], slopes);
  });

  it("ST-MoE: the gradient at dispatch reaches the weights", async () => {
    const subject: RouterSubject = find(routerSubjects, "stMoeRouter");
    const leaves = await frozenCall(subject);
    const routing = tokenChoice(routed(leaves, subject));
    expect(routing.inputWeights, "where nothing is recorded there is nothing to pass").toBe(
      undefined,
    );
    await holdToDifferences(
      leaves,
      (given) => {
        const { outputWeights, inputWeights } = tokenChoice(routed(given, subject));
        return weighed({ outputWeights, ...(inputWeights && { inputWeights }) });
      },
      {
        reference: (given) => {
          const { outputWeights } = tokenChoice(routed(given, subject));
          // In the place of d + c − stop(c), whose slope is that of c.
          return weighed({ outputWeights, inputWeights: outputWeights });
        },
      },
    );
  });

  it("REINFORCE: the baseline learns from x, and x learns nothing from it", async () => {
    const subject: RouterSubject = find(routerSubjects, "reinforceRouter");
    const leaves = await frozenCall(subject);
    const objective = (given: Leaves): Tensor => {
      const { scores, carry = {} } = routed(given, subject);
      return weighed({ scores, ...carry });
    };
    const params = Object.keys(leaves).filter((name) => name.startsWith("router.params."));
    expect(await holdToDifferences(leaves, objective, { wrt: params })).toBeGreaterThan(0);
    const reference = (given: Leaves): Tensor => weighed({ scores: routed(given, subject).scores });
    await holdToDifferences(leaves, objective, { wrt: ["x"], reference });
  });

  it("REINFORCE's loss: −(r − b) · ∇ log π of choices without replacement", async () => {
    const subject: LossSubject = find(lossSubjects, "reinforceLoss");
    const { router } = subject;
    if (router === undefined) throw new Error("the loss has no router");
    const whole = { ...subject, router };
    const leaves = await frozenCall(whole);
    const [loss] = subject.losses((leaves["x"] as Tensor).backend, "f64");
    const { grads } = valueAndGrad((traced: Leaves) =>
      sum(loss?.evaluate([routed({ ...leaves, ...traced }, whole)]) as Tensor),
    )({ [WEIGHT]: leaves[WEIGHT] as Tensor });
    const routing = tokenChoice(routed(leaves, whole));
    const [logits, chosen, baseline] = await Promise.all([
      rowsOf(routing.logits, experts),
      rowsOf(routing.selected, topK),
      rowsOf(routing.carry?.["reinforceBaseline"] as Tensor, 1),
    ]);
    const rewards = rewardsOf(logits.length);
    const mask = [...((await routing.mask?.read()) ?? [])];
    const counted = mask.filter((live) => live === 1).length;
    const slopes = logits.map((row, token) => {
      const error = (rewards[token] ?? 0) - (baseline[token]?.[0] ?? 0);
      const ids = mask[token] === 1 ? (chosen[token] ?? []) : [];
      return row.map((_, e) =>
        ids.reduce((total, expert, place) => {
          const p = openSoftmax(row, ids.slice(0, place));
          return total - (error / counted) * (Number(e === expert) - (p[e] ?? 0));
        }, 0),
      );
    });
    await expectWeightGradient(leaves, grads[WEIGHT], slopes);
  });
});
