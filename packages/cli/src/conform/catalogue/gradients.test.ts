import type { BankSubject } from "@moiety/conformance";
import {
  type Tensor,
  type TokenChoice,
  combine,
  dispatch,
  loadOf,
  mixExperts,
  plan,
} from "@moiety/core";
import { describe, expect, it } from "vitest";
import { carriedBy, weightsOf } from "../../../../conformance/src/own/routing-values.ts";
import { bankSubjects } from "./banks.ts";
import { lossSubjects } from "./losses.ts";
import { routerSubjects } from "./routers.ts";
import { usualRouter } from "../../../../conformance/src/own/bank-cases.ts";
import { SIZES } from "./sizes.ts";
import {
  type Leaves,
  backend,
  drawn,
  holdToDifferences,
  leavesOfPart,
  partOf,
  weighed,
} from "./testing/differences.ts";
import { frozenCall, routed } from "./testing/routed.ts";

const named = <Subject extends { readonly name: string }>(
  subjects: readonly Subject[],
): [string, Subject][] => subjects.map((subject) => [subject.name, subject]);

/** Those whose gradient is that of what they compute; the others are held to their formulas. */
const functions = <Subject extends { readonly ofFunction?: boolean | undefined }>(
  subjects: readonly Subject[],
): Subject[] => subjects.filter(({ ofFunction }) => ofFunction !== false);

/** What nothing is learned in: a fixed table, and what a fixed table's loads are. */
const FIXED: readonly string[] = ["catalogue/hashRouter"];

describe("gradients of routers in training, choices frozen, are central differences", () => {
  it.each(named(functions(routerSubjects)))("%s", async (name, subject) => {
    const leaves = await frozenCall(subject);
    const moving = await holdToDifferences(
      leaves,
      (given) => {
        const routing = routed(given, subject);
        return weighed({ scores: routing.scores, ...weightsOf(routing), ...carriedBy(routing) });
      },
      // A LayerNorm's β is a buffer there: it is loaded, and not trained.
      { frozen: (leaf) => name.endsWith("lucidrains") && leaf.endsWith(".beta") },
    );
    expect(moving > 0).toBe(!FIXED.includes(name));
  });
});

describe("gradients of banks, rows frozen, are central differences", () => {
  it.each(named(bankSubjects))("%s", async (name, subject) => {
    const { experts: bank } = subject;
    const tokens = 7;
    const leaves = {
      ...(await leavesOfPart(bank, "experts")),
      x: drawn(3, [tokens, bank.inputSize]),
      outputWeights: drawn(4, [tokens, SIZES.topK]),
      inputWeights: drawn(5, [tokens, SIZES.topK]),
    };
    const moving = await holdToDifferences(leaves, (given) => mixed(given, subject), {
      frozen: (leaf) =>
        leaf.endsWith(".scales") || (name === "catalogue/lora" && leaf.includes("params.base.")),
    });
    expect(moving).toBeGreaterThan(0);
  });
});

/** Both ways through a bank, of fixed choices; every fifth is of no expert. */
function mixed(given: Leaves, { experts: bank, rows = true }: BankSubject): Tensor {
  const { x, outputWeights, inputWeights } = given as Record<
    "x" | "outputWeights" | "inputWeights",
    Tensor
  >;
  const ids = Int32Array.from({ length: outputWeights.size }, (_, at) =>
    at % 5 === 4 ? bank.experts : (at * 4 + (at >> 1)) % bank.experts,
  );
  const indices = backend.tensor(ids, { shape: outputWeights.shape });
  const routing: TokenChoice = {
    kind: "token-choice",
    experts: bank.experts,
    logits: outputWeights,
    scores: outputWeights,
    indices,
    selected: indices,
    outputWeights,
    inputWeights,
  };
  const { params } = partOf(given, bank, "experts");
  const whole = mixExperts(bank, params, x, routing);
  if (!rows) return weighed({ whole });
  const sorted = plan(routing);
  const summed = bank.forward(params, dispatch(x, sorted, inputWeights));
  return weighed({ whole, summed: combine(summed, sorted, outputWeights) });
}

describe("gradients of losses, choices frozen, are central differences", () => {
  it.each(named(functions(lossSubjects)))("%s", async (_, subject) => {
    const router = subject.router ?? usualRouter({ experts: 6, inputSize: 8 });
    const leaves = await frozenCall({ ...subject, router });
    const moving = await holdToDifferences(leaves, (given) => {
      const routing = routed(given, { ...subject, router });
      const losses = subject.losses(backend, "f64").map((loss) => loss.evaluate([routing]));
      return weighed({ ...losses, load: loadOf(routing) } as unknown as Leaves);
    });
    expect(moving).toBeGreaterThan(0);
  });
});
