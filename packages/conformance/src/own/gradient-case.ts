import { type Tensor, add, isFloat, mul, valueAndGrad } from "@moiety/core";
import type {
  BoundedValues,
  CaseContext,
  CompareOptions,
  ConformanceCase,
  HostTensors,
  Program,
  ProgramRun,
  Tensors,
} from "../case.ts";
import { weighed } from "../cases/grad-support.ts";
import { KitFault } from "../failure.ts";
import type { HostTensor } from "../host-tensor.ts";
import { type OwnCaseParts, ownCase } from "./program-case.ts";

/** A case of a program's gradients. */
export interface GradientCaseParts<Inputs extends HostTensors> extends OwnCaseParts {
  /** Draws the inputs from `test.random`. */
  inputs(test: CaseContext): Inputs | Promise<Inputs>;
  /**
   * What is differentiated: the sum of its float outputs, each weighed with fixed numbers. Its other
   * outputs (choices, say) must be the references' exactly.
   */
  readonly program: Program<Inputs>;
  /** The inputs with a gradient; all of f32 to which one flows unless given. */
  readonly wrt?: readonly (keyof Inputs & string)[] | undefined;
  /**
   * Whether the gradient is that of the function, so that ⟨Jv, u⟩ = ⟨v, Jᵀu⟩ is demanded too, the
   * left side by central differences. True unless given; false for estimators, whose gradient is
   * another than that of what they compute.
   */
  readonly ofFunction?: boolean | undefined;
  /**
   * How gradients are compared. Those of what hardly matters cancel, and are then known to few
   * digits; they are held to their bounds all the same. So any share may be, where the inner product
   * shows that the inputs are not poor, and a quarter elsewhere, unless this says otherwise.
   */
  readonly compare?: CompareOptions | undefined;
}

/**
 * A case of gradients of your own: held to the references as {@link programCase} holds values, and,
 * unless they are an estimator's, to central differences of the program on the oracle.
 * @throws ConfigError for an id that begins with no level
 */
export function gradientCase<Inputs extends HostTensors>({
  inputs,
  ...rest
}: GradientCaseParts<Inputs>): ConformanceCase {
  const { program, wrt, ofFunction, compare, ...parts } = rest;
  return ownCase({
    ...parts,
    extension: "grad",
    run: async (test) =>
      holdGradients(test, { inputs: await inputs(test), program, wrt, ofFunction, compare }),
  });
}

/** What {@link holdGradients} is given. */
export interface HeldGradients<Inputs extends HostTensors> extends Pick<
  GradientCaseParts<Inputs>,
  "program" | "wrt" | "ofFunction" | "compare"
> {
  readonly inputs: Inputs;
  /** Whether it is no fault of the kit if nothing flows back to any input. */
  readonly mayBeNone?: boolean | undefined;
}

/** Holds a program's gradients, and its whole numbers, to the references. */
export async function holdGradients<Inputs extends HostTensors>(
  test: CaseContext,
  { inputs, program, wrt, ofFunction = true, compare, mayBeNone = false }: HeldGradients<Inputs>,
): Promise<void> {
  const names = wrt ?? floatsOf(inputs);
  const differentiated = gradientProgram(names, program, wrt !== undefined);
  const wanted: Record<string, BoundedValues> = await test.reference(inputs, differentiated);
  const got: Record<string, HostTensor> = await test.observe(inputs, differentiated);
  const reached = names.filter((name) => wanted[gradientOf(name)] !== undefined);
  if (reached.length === 0 && !mayBeNone) throw new KitFault("nothing flows back to any input");
  const options = compare ?? { ambiguous: ofFunction ? 1 : 0.25 };
  for (const [name, bounded] of Object.entries(wanted)) {
    const values = got[name];
    if (values === undefined) throw new KitFault(`the program does not give ${name} in every run`);
    test.within(name, values, bounded, options);
  }
  if (ofFunction && reached.length > 0)
    await holdInnerProduct(test, { inputs, program, names: reached, wanted, got });
}

/** The names of the f32 inputs. */
export function floatsOf(inputs: HostTensors): string[] {
  return Object.entries(inputs).flatMap(([name, { dtype }]) => (dtype === "f32" ? [name] : []));
}

const gradientOf = (name: string): string => `gradient of ${name}`;

/** Gradients of Σ float outputs · upstream by input, and the outputs that are not floats. */
function gradientProgram<Inputs extends HostTensors>(
  names: readonly string[],
  program: Program<Inputs>,
  all: boolean,
): Program<Inputs> {
  return (run) => {
    const given: Readonly<Record<string, Tensor>> = run.inputs;
    const params = Object.fromEntries(names.map((name) => [name, inputOf(given, name)]));
    const { grads, aux } = valueAndGrad((traced: Record<string, Tensor>) => {
      const inputs = { ...given, ...traced } as typeof run.inputs;
      const outputs: Tensors = program({ ...run, inputs });
      return { loss: weighedFloats(run, outputs), aux: wholeOf(outputs) };
    })(params);
    const found = Object.entries(grads).flatMap(([name, gradient]) => {
      if (gradient) return [[gradientOf(name), gradient] as const];
      if (all) throw new KitFault(`nothing flows back to ${name}`);
      return [];
    });
    return { ...Object.fromEntries(found), ...aux };
  };
}

function inputOf(inputs: Readonly<Record<string, Tensor>>, name: string): Tensor {
  const tensor = inputs[name];
  if (tensor === undefined) throw new KitFault(`there is no input ${name}`);
  return tensor;
}

function weighedFloats(run: ProgramRun, outputs: Tensors): Tensor {
  return weighed(
    run,
    Object.values(outputs).filter(({ dtype }) => isFloat(dtype)),
  );
}

function wholeOf(outputs: Tensors): Record<string, Tensor> {
  return Object.fromEntries(Object.entries(outputs).filter(([, { dtype }]) => !isFloat(dtype)));
}

/** Step of the central differences, in f64. */
const STEP = 1e-6;
/** What such differences may be off by, as a share of the terms. */
const DIFFERENCE_ERROR = 1e-6;
/** Share of its terms to which the inner product must be known at least. */
const KNOWN = 0.1;
/** Directions that are tried where a choice changes within the step. */
const TRIES = 4;

interface InnerProduct<Inputs extends HostTensors> {
  readonly inputs: Inputs;
  readonly program: Program<Inputs>;
  /** Inputs with a gradient. */
  readonly names: readonly string[];
  readonly wanted: Readonly<Record<string, BoundedValues>>;
  readonly got: Readonly<Record<string, HostTensor>>;
}

/** ⟨Jv, u⟩ = ⟨v, Jᵀu⟩ along one direction v of all inputs together, choices being equal at both ends. */
async function holdInnerProduct<Inputs extends HostTensors>(
  test: CaseContext,
  parts: InnerProduct<Inputs>,
): Promise<void> {
  const { inputs, names, wanted, got } = parts;
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const directions = names.map((name) => test.random.normal(inputs[name]?.shape ?? []));
    const ends = await test.reference(
      { ...inputs, ...named(directions) },
      endsProgram(names, parts.program),
    );
    if (!sameChoices(ends)) continue;
    const slope = ((ends["+"]?.values[0] ?? 0) - (ends["-"]?.values[0] ?? 0)) / (2 * STEP);
    const product = productOf(names, directions, wanted, got);
    judge(test, slope, product, Math.abs(ends["+"]?.values[0] ?? 0));
    return;
  }
  test.poor(`choices change within a step of ${STEP}, ${TRIES} times`);
}

function named(directions: readonly HostTensor[]): Record<string, HostTensor> {
  return Object.fromEntries(directions.map((v, index) => [`direction ${index}`, v]));
}

/** The weighed sum of the program's floats at both ends of a step, and its whole numbers there. */
function endsProgram<Inputs extends HostTensors>(
  names: readonly string[],
  program: Program<Inputs>,
): Program {
  return (run) => {
    const at = (sign: 1 | -1): Record<string, Tensor> => {
      const moved = names.map((name, index) => {
        const v = inputOf(run.inputs, `direction ${index}`);
        return [name, add(inputOf(run.inputs, name), mul(v, sign * STEP))] as const;
      });
      const inputs = { ...run.inputs, ...Object.fromEntries(moved) };
      const outputs: Tensors = program({ ...run, inputs } as unknown as ProgramRun<Inputs>);
      const whole = Object.entries(wholeOf(outputs));
      const end = sign === 1 ? "+" : "-";
      return {
        [end]: weighedFloats(run, outputs),
        ...Object.fromEntries(whole.map(([name, tensor]) => [`${end} ${name}`, tensor])),
      };
    };
    return { ...at(1), ...at(-1) };
  };
}

function sameChoices(ends: Readonly<Record<string, BoundedValues>>): boolean {
  return Object.entries(ends).every(([name, { values }]) => {
    if (!name.startsWith("+ ")) return true;
    const other = ends[`-${name.slice(1)}`];
    return values.every((value, index) => value === other?.values[index]);
  });
}

/** ⟨v, Jᵀu⟩ by the backend and by the oracle, what the backend's may be off by, and its terms' size. */
interface Product {
  readonly got: number;
  readonly oracle: number;
  readonly bound: number;
  readonly size: number;
}

function productOf(
  names: readonly string[],
  directions: readonly HostTensor[],
  wanted: Readonly<Record<string, BoundedValues>>,
  got: Readonly<Record<string, HostTensor>>,
): Product {
  const product = { got: 0, oracle: 0, bound: 0, size: 0 };
  for (const [index, name] of names.entries()) {
    const bounded = wanted[gradientOf(name)];
    const found = got[gradientOf(name)];
    for (const [place, v] of (directions[index]?.data ?? []).entries()) {
      const exact = bounded?.values[place] ?? Number.NaN;
      product.got += v * (found?.data[place] ?? Number.NaN);
      product.oracle += v * exact;
      product.bound += Math.abs(v) * (bounded?.bounds[place] ?? 0);
      product.size += Math.abs(v * exact);
    }
  }
  return product;
}

/** `height` is the size of what was differentiated: it limits how exact a difference can be. */
function judge(
  test: CaseContext,
  slope: number,
  { got, oracle, bound, size }: Product,
  height: number,
): void {
  const slack = DIFFERENCE_ERROR * size + (height * 1e-13) / STEP;
  if (!(Math.abs(slope - oracle) <= slack)) {
    test.poor(`the oracle's own gradient gives ${oracle}, its difference ${slope}`);
  }
  if (!(bound + slack < KNOWN * size)) test.poor(`⟨v, Jᵀu⟩ is known to ± ${bound} of ${size} only`);
  test.expect(
    Math.abs(slope - got) <= bound + slack,
    `⟨Jv, u⟩ is ${slope}, but ⟨v, Jᵀu⟩ is ${got} (± ${bound + slack})`,
  );
}
