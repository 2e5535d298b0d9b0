import {
  type Routing,
  type RoutingLoss,
  type Tensor,
  add,
  cast,
  div,
  loadOf,
  logSumExp,
  mean,
  mul,
  routeTokens,
  square,
  stopGradient,
  sub,
  sum,
} from "@moiety/core";
import type { CaseContext, ConformanceCase } from "../case.ts";
import { type HostTensor, generated } from "../host-tensor.ts";
import {
  type CaseParts,
  at,
  caseOf,
  constant,
  holds,
  mapped,
  observed,
  referenced,
} from "./l3-support.ts";
import { LAYER_OPS } from "./l4-layer-support.ts";

/** Rows of a routing that count: all, or those of its mask, as factors `[T, 1]`. */
function counted({ mask, logits }: Routing): {
  readonly rows: Tensor | undefined;
  readonly count: Tensor | number;
} {
  const tokens = logits.shape[0] ?? 0;
  if (!mask) return { rows: undefined, count: tokens };
  const rows = cast(mask, { dtype: logits.dtype === "f64" ? "f64" : "f32" });
  return { rows: rows.reshape([tokens, 1]), count: sum(rows) };
}

const masked = (values: Tensor, rows: Tensor | undefined): Tensor =>
  rows ? mul(values, rows) : values;

/**
 * E · Σ_e f_e · P_e (Fedus et al., 2022) with f_e the share of the choices that went to e, a constant
 * for the gradient, and P_e its mean probability: 1 where all is even, E where one expert takes all.
 */
function switchLoss(routing: Routing): Tensor {
  const { experts, scores } = routing;
  const { rows, count } = counted(routing);
  const load = cast(loadOf(routing), { dtype: scores.dtype === "f64" ? "f64" : "f32" });
  const share = stopGradient(div(load, sum(load)));
  const probability = div(sum(masked(scores, rows), [0]), count);
  return mul(sum(mul(share, probability)), experts);
}

/** Mean of the squared logarithm of the softmax's denominator (Zoph et al., 2022). */
function zLoss(routing: Routing): Tensor {
  const { rows, count } = counted(routing);
  const tokens = routing.logits.shape[0] ?? 0;
  const squares = square(logSumExp(routing.logits)).reshape([tokens, 1]);
  return div(sum(masked(squares, rows)), count);
}

/** Squared coefficient of variation of the experts' summed probabilities (Shazeer et al., 2017). */
function importanceLoss(routing: Routing): Tensor {
  const { rows } = counted(routing);
  const importance = sum(masked(routing.scores, rows), [0]);
  const centre = mean(importance);
  return div(mean(square(sub(importance, centre))), square(centre));
}

/** The losses of the kit by name. */
export const LOSSES: Readonly<Record<string, (routing: Routing) => Tensor>> = {
  switch: switchLoss,
  z: zLoss,
  importance: importanceLoss,
};

/** One of them as a layer takes it. */
export function layerLoss(name: string, coefficient: number): RoutingLoss {
  const evaluate = LOSSES[name] ?? switchLoss;
  return {
    name,
    coefficient,
    evaluate: (routings) => routings.map(evaluate).reduce((total, one) => add(total, one)),
  };
}

type LossHosts = { readonly logits: HostTensor; readonly mask: HostTensor | undefined };

/** All losses of a routing of given logits, k = 2 unless told otherwise. */
function losses(
  { logits, mask }: { readonly logits: Tensor; readonly mask: Tensor | undefined },
  topK = 2,
): Record<string, Tensor> {
  const experts = logits.shape[1] ?? 0;
  // By logits, so that exact logits mean exact choices.
  const spec = { experts, topK, score: "softmax", selectBy: "logits" } as const;
  const routing = routeTokens(spec, { logits }, { mask });
  return Object.fromEntries(
    Object.entries(LOSSES).map(([name, evaluate]) => [name, evaluate(routing)]),
  );
}

const lossCase = (
  what: string,
  demand: string,
  run: (test: CaseContext) => Promise<void>,
  more: Partial<CaseParts> = {},
): ConformanceCase =>
  caseOf("L4", `balance-loss/${what}`, {
    demand,
    extension: "grad",
    ops: [...LAYER_OPS, cast],
    run,
    ...more,
  });

/** What the backend gives for each loss, held to the references. */
async function lossesOf(
  test: CaseContext,
  hosts: LossHosts,
  topK?: number,
): Promise<Record<string, { readonly value: number; readonly bound: number }>> {
  const body = (given: { readonly logits: Tensor; readonly mask: Tensor | undefined }) =>
    losses(given, topK);
  const wanted = await referenced(test, hosts, body);
  const got = await observed(test, hosts, body);
  const entries = Object.entries(wanted).map(([name, bounded]) => {
    // A loss whose minimum is 0 has no digits there.
    test.within(name, at(got, name), bounded, { ambiguous: 1 });
    const [value = Number.NaN, bound = 0] = [at(got, name).data[0], bounded.bounds[0]];
    return [name, { value, bound }] as const;
  });
  return Object.fromEntries(entries);
}

/** Logits in which each token likes its own expert, all experts equally often: exact and even. */
function evenLogits(tokens: number, experts: number): HostTensor {
  return generated([tokens, experts], "f32", (index) =>
    index % experts === Math.floor(index / experts) % experts ? 2 : 0,
  );
}

/** Cases of balance losses written over routings. */
export const lossCases: readonly ConformanceCase[] = [
  lossCase("values", "losses over a routing have the references' values", async (test) => {
    // On a dyadic grid choices are exact.
    await holds(test, { logits: test.random.dyadic([66, 9]), mask: undefined }, (given) =>
      losses(given),
    );
  }),
  lossCase("padding", "padding counts in no loss", async (test) => {
    const logits = test.random.dyadic([40, 6]);
    const kept = 29;
    const mask = generated([40], "bool", (index) => (index < kept ? 1 : 0));
    const alone = {
      logits: { ...logits, data: logits.data.slice(0, kept * 6), shape: [kept, 6] },
      mask: undefined,
    };
    const padded = await lossesOf(test, { logits, mask });
    const short = await lossesOf(test, alone);
    for (const [name, { value, bound }] of Object.entries(padded)) {
      const other = at(short, name);
      test.expect(
        Math.abs(value - other.value) <= bound + other.bound,
        `${name} is ${value} with padding and ${other.value} without`,
      );
    }
  }),
  lossCase(
    "even",
    "where experts share evenly the Switch loss is 1 and the importance even",
    async (test) => {
      const even = await lossesOf(test, { logits: evenLogits(32, 8), mask: undefined }, 1);
      const { value, bound } = at(even, "switch");
      test.expect(Math.abs(value - 1) <= bound, `the Switch loss is ${value}`);
      const spread = at(even, "importance");
      test.expect(Math.abs(spread.value) <= spread.bound, `the importance loss is ${spread.value}`);
    },
  ),
  lossCase("minimum", "uneven routing costs more than even routing", async (test) => {
    const even = await lossesOf(test, { logits: evenLogits(64, 8), mask: undefined }, 1);
    const tilt = mapped(
      evenLogits(64, 8),
      (value, index) => value + ([1.5, 0.5, 0, 0, 0, 0, 0, -1][index % 8] ?? 0),
    );
    const uneven = await lossesOf(test, { logits: tilt, mask: undefined }, 1);
    for (const name of ["switch", "importance"]) {
      const [low, high] = [at(even, name), at(uneven, name)];
      test.expect(
        high.value - low.value > high.bound + low.bound,
        `${name} is ${high.value} uneven and ${low.value} even`,
      );
    }
  }),
  lossCase("collapse", "losses are finite where one expert takes all", async (test) => {
    const logits = generated([33, 8], "f32", (index) => (index % 8 === 5 ? 60 : -60));
    const found = await lossesOf(test, { logits, mask: undefined }, 1);
    const { value, bound } = at(found, "switch");
    test.expect(Math.abs(value - 8) <= bound, `the Switch loss is ${value} instead of E`);
    for (const [name, loss] of Object.entries(found)) {
      test.expect(Number.isFinite(loss.value), `${name} is ${loss.value}`);
    }
  }),
  lossCase("relabelled", "losses do not know the experts' numbers", async (test) => {
    const logits = test.random.normal([50, 7]);
    const order = [...test.random.permutation(7).data];
    const relabelled = mapped(logits, (_, index) => {
      const [token, expert] = [Math.floor(index / 7), index % 7];
      return logits.data[token * 7 + (order[expert] ?? 0)] ?? 0;
    });
    const [plain, other] = [
      await lossesOf(test, { logits, mask: undefined }),
      await lossesOf(test, { logits: relabelled, mask: undefined }),
    ];
    for (const [name, { value, bound }] of Object.entries(plain)) {
      const again = at(other, name);
      test.expect(
        Math.abs(value - again.value) <= bound + again.bound,
        `${name} is ${value}, and ${again.value} with other numbers`,
      );
    }
  }),
  lossCase("even-logits", "equal logits cost log² E of z-loss", async (test) => {
    const found = await lossesOf(test, { logits: constant([17, 6], 0), mask: undefined });
    const { value, bound } = at(found, "z");
    test.expect(Math.abs(value - Math.log(6) ** 2) <= bound, `the z-loss is ${value}`);
  }),
];
