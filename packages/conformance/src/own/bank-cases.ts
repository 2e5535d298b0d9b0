import {
  type ExpertBank,
  type ProductFormat,
  type Router,
  type TokenChoice,
  combine,
  dispatch,
  mixExperts,
  plan,
} from "@moiety/core";
import type {
  CaseContext,
  CompareOptions,
  ConformanceCase,
  HostTensors,
  ProgramRun,
  Tensors,
} from "../case.ts";
import { linearRouter } from "../cases/l4-layer-support.ts";
import { type HostTensor, generated } from "../host-tensor.ts";
import { choices } from "../cases/l3-ffn-support.ts";
import { lacksAny } from "../cases/quantised-support.ts";
import { holdGradients } from "./gradient-case.ts";
import { layerCases } from "./layer-cases.ts";
import { leavesOnHost, treesOf } from "./leaves.ts";
import { ownCase } from "./program-case.ts";
import { inputOf } from "./routed.ts";

/** A bank to hold a backend to. */
export interface BankSubject {
  /** Stands in the cases' ids behind their level: `my-banks/maxout`. */
  readonly name: string;
  readonly experts: ExpertBank<unknown>;
  /** Whether its `forward` runs on rows alone. True unless given. */
  readonly rows?: boolean | undefined;
  /** Tokens; 18 unless given. */
  readonly tokens?: number | undefined;
  /** How its gradients are compared. */
  readonly gradients?: CompareOptions | undefined;
  /** Formats of its weights, where they are quantised: a backend that lacks one is excused. */
  readonly formats?: readonly ProductFormat[] | undefined;
}

const CHOICES = 2;

/**
 * The cases of a bank: `L3/NAME` its experts on rows and as the layer mixes them, input weights and
 * choices of no expert included, `L3/grad/NAME` their gradients, `L4/NAME` and `L4/grad/NAME` a layer
 * with it behind a linear router with a softmax.
 */
export function bankCases(subject: BankSubject): readonly ConformanceCase[] {
  const { name, experts, gradients: compare, formats } = subject;
  const unsupported = lacksAny(formats);
  return [
    ownCase({
      id: `L3/${name}`,
      unsupported,
      demand: `the experts of ${name} run on the rows that they are given`,
      run: async (test) =>
        test.compare(await bankInputs(test, subject), (run) => runBank(run, subject)),
    }),
    ownCase({
      id: `L3/grad/${name}`,
      demand: `rows, weights and parameters of ${name} get their gradients`,
      extension: "grad",
      unsupported,
      async run(test) {
        const inputs = await bankInputs(test, subject);
        const program = (run: ProgramRun): Tensors => runBank(run, subject);
        await holdGradients(test, { inputs, program, compare });
      },
    }),
    ...layerCases({ name, router: usualRouter(experts), experts, gradients: compare, formats }),
  ];
}

/** A linear router in front of a bank. */
export function usualRouter({
  experts,
  inputSize,
}: Pick<ExpertBank<unknown>, "experts" | "inputSize">): Router<unknown, unknown> {
  return linearRouter({ shape: { experts, topK: CHOICES, input: inputSize, inner: 1 } }) as Router<
    unknown,
    unknown
  >;
}

async function bankInputs(
  test: CaseContext,
  { experts: bank, tokens = 18 }: BankSubject,
): Promise<Record<string, HostTensor>> {
  const { experts, inputSize } = bank;
  const chosen = choices(test.random, { tokens, experts, topK: CHOICES });
  return {
    ...(await leavesOnHost(test, bank, "experts")),
    x: test.random.normal([tokens, inputSize]),
    // Every fifth choice found no place.
    indices: generated(chosen.shape, "i32", (at) =>
      at % 5 === 3 ? experts : (chosen.data[at] ?? 0),
    ),
    outputWeights: test.random.uniform([tokens, CHOICES], 0.1, 1),
    inputWeights: test.random.uniform([tokens, CHOICES], 0.5, 1.5),
  };
}

function runBank(
  run: ProgramRun<HostTensors>,
  { experts: bank, rows = true }: BankSubject,
): Tensors {
  const { params } = treesOf(run, bank, "experts");
  const [x, indices] = [inputOf(run, "x"), inputOf(run, "indices")];
  const [outputWeights, inputWeights] = [
    inputOf(run, "outputWeights"),
    inputOf(run, "inputWeights"),
  ];
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
  const mixed = mixExperts(bank, params, x, routing);
  if (!rows) return { mixed };
  const sorted = plan(routing);
  const given = dispatch(x, sorted, inputWeights);
  return { mixed, summed: combine(bank.forward(params, given), sorted, outputWeights) };
}
