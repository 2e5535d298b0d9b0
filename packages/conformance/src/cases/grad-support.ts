import {
  type AnyOp,
  type Tensor,
  add,
  binary,
  broadcast,
  fill,
  hostBits,
  mul,
  randomKey,
  reduce,
  sum,
  valueAndGrad,
} from "@moiety/core";
import type { CaseContext, CompareOptions, ConformanceCase, Level, ProgramRun } from "../case.ts";
import { KitFault } from "../failure.ts";
import {
  type Body,
  type Hosts,
  type Uploaded,
  at,
  caseOf,
  holds,
  observed,
  present,
  referenced,
} from "./l3-support.ts";

/** What is differentiated: tensors of inputs. */
export type Differentiated<H extends Hosts> = (
  inputs: Uploaded<H>,
  run: ProgramRun,
) => Tensor | readonly Tensor[];

/**
 * What an output is weighed with in the loss: multiples of 1/16 between −1 and 1, none of them 0,
 * exact in every float dtype and the same on every backend.
 */
export function upstreamOf({ backend, float }: ProgramRun, output: Tensor, index = 0): Tensor {
  const bits = hostBits(randomKey(index + 1), output.size);
  const values = Float64Array.from(
    bits,
    (word) => ((((word >>> 4) % 16) + 1) / 16) * (word & 1 ? 1 : -1),
  );
  return backend.tensor(values, { shape: output.shape, dtype: float });
}

/** Σ outputs · upstream. */
export function weighed(run: ProgramRun, result: Tensor | readonly Tensor[]): Tensor {
  const outputs = Array.isArray(result) ? (result as readonly Tensor[]) : [result as Tensor];
  const terms = outputs.map((output, index) => sum(mul(output, upstreamOf(run, output, index))));
  const [first, ...rest] = terms;
  if (first === undefined) throw new KitFault("there is nothing to differentiate");
  return rest.reduce((total, term) => add(total, term), first);
}

/** The gradients of Σ outputs · upstream with respect to some inputs, under their names. */
export function gradients<H extends Hosts>(
  wrt: readonly (keyof H & string)[],
  body: Differentiated<H>,
): Body<H> {
  return (inputs, run) => {
    const given = inputs as Readonly<Record<string, Tensor>>;
    const params = Object.fromEntries(wrt.map((name) => [name, at(given, name)]));
    const { loss, grads } = valueAndGrad((traced: Record<string, Tensor>) =>
      weighed(run, body({ ...given, ...traced } as Uploaded<H>, run)),
    )(params);
    const found = wrt.map((name) => {
      const gradient = grads[name];
      if (!gradient) throw new KitFault(`nothing flows back to ${name}`);
      return [name, gradient] as const;
    });
    return { loss, ...Object.fromEntries(found) };
  };
}

/** Holds the gradients of a program to the references. The loss itself may cancel to anything. */
export async function gradientsHold<H extends Hosts>(
  test: CaseContext,
  inputs: H,
  wrt: readonly (keyof H & string)[],
  body: Differentiated<H>,
  options: CompareOptions = {},
): Promise<void> {
  await holds(test, inputs, gradients(wrt, body), { outputs: wrt, ...options });
}

/** The ops that every gradient case needs: those of its loss. */
export const GRADIENT_OPS: readonly AnyOp[] = [binary, reduce, broadcast, fill];

/** A case of the extension `grad`. */
export function gradientCase(
  level: Level,
  what: string,
  demand: string,
  ops: readonly AnyOp[],
  run: (test: CaseContext) => Promise<void>,
): ConformanceCase {
  return caseOf(level, `grad/${what}`, {
    demand,
    extension: "grad",
    ops: [...GRADIENT_OPS, ...ops],
    run,
  });
}

/** Step of the central differences, in f64. */
const STEP = 1e-5;
/** What such differences may be off by, as a share of the terms. */
const DIFFERENCE_ERROR = 1e-6;

/**
 * ⟨Jv, u⟩ = ⟨v, Jᵀu⟩: the left side by a central difference of the whole program in f64 on the oracle,
 * which knows no gradient rule, the right side by the backend's gradients. One direction v for all
 * inputs together.
 */
export async function innerProductLaw<H extends Hosts>(
  test: CaseContext,
  inputs: H,
  wrt: readonly (keyof H & string)[],
  body: Differentiated<H>,
): Promise<void> {
  const hosts = present(inputs);
  const directions = wrt.map((name) => test.random.normal(at(hosts, name).shape));
  const moved = Object.fromEntries(directions.map((v, index) => [`direction ${index}`, v]));
  const ends = await referenced(test, { ...hosts, ...moved }, (given, run) => {
    const all = given as Readonly<Record<string, Tensor>>;
    const at = (step: number): Tensor => {
      const nudged = wrt.map((name, index) => {
        const [x, v] = [all[name], all[`direction ${index}`]];
        if (!x || !v) throw new KitFault(`there is no input ${name}`);
        return [name, add(x, mul(v, step))] as const;
      });
      return weighed(run, body({ ...all, ...Object.fromEntries(nudged) } as Uploaded<H>, run));
    };
    return { plus: at(STEP), minus: at(-STEP) };
  });
  const program = gradients(wrt, body);
  const bounded = await referenced(test, inputs, program);
  const got = await observed(test, inputs, program);
  const left =
    ((at(ends, "plus").values[0] ?? 0) - (at(ends, "minus").values[0] ?? 0)) / (2 * STEP);
  let [right, oracle, bound, size] = [0, 0, 0, 0];
  for (const [index, name] of wrt.entries()) {
    for (const [place, v] of (directions[index]?.data ?? []).entries()) {
      const exact = at(bounded, name).values[place] ?? 0;
      right += v * (at(got, name).data[place] ?? Number.NaN);
      oracle += v * exact;
      bound += Math.abs(v) * (at(bounded, name).bounds[place] ?? 0);
      size += Math.abs(v * exact);
    }
  }
  const slack = DIFFERENCE_ERROR * size;
  if (Math.abs(left - oracle) > slack) {
    test.poor(`the oracle's own gradient gives ${oracle}, its difference ${left}`);
  }
  if (!(bound + slack < 0.02 * size)) test.poor(`⟨v, Jᵀu⟩ is known to ± ${bound} of ${size} only`);
  test.expect(
    Math.abs(left - right) <= bound + slack,
    `⟨Jv, u⟩ is ${left}, but ⟨v, Jᵀu⟩ is ${right} (± ${bound + slack})`,
  );
}
