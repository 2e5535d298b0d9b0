import { I32 } from "../../emit/scalars.ts";
import { F32x4, I32x4 } from "../../emit/vectors.ts";
import type { Body } from "../../emit/body.ts";
import type { KernelCall } from "../../kernel.ts";
import { type Arguments, type Routine, defineRoutine } from "../../routine.ts";
import { storeRows } from "../products/index.ts";
import { type ActivationWords, isSwiglu, readWords, writeActivation } from "./activation.ts";
import { backOf, swigluBack } from "./activation-back.ts";
import type { Assignments } from "./assignments.ts";
import { laneMask, laneSum } from "./columns.ts";
import { type FfnProblem, halvesOf } from "./problem.ts";
import { rowsPerTask } from "./row-work.ts";
import { type HalfVectors, loadTurns, storeBackTurns } from "./turns.ts";

const PARAMETERS = {
  /** Address of the descriptor. */
  activation: I32,
  /** Not 0: it is SwiGLU without limits. */
  swiglu: I32,
  /** Rows, and those of a task. */
  rows: I32,
  block: I32,
  /** I. */
  inner: I32,
  /** Bytes from one row of `gradients` to the next. */
  pitch: I32,
  /** Gradients of activations, without weights; activations times weights take their place. */
  gradients: I32,
  /** Sums of the up projection; bytes of a row. */
  hidden: I32,
  hiddenStride: I32,
  /** Where their gradients go, in the same form. */
  to: I32,
  /** Each row's assignment; weights of assignments; where the weights' gradients go. */
  order: I32,
  weights: I32,
  dWeights: I32,
  /** Places of the halves' first columns, and the step; 0: a plain bank. */
  gateFirst: I32,
  upFirst: I32,
  step: I32,
} as const;

type RowArguments = Arguments<typeof PARAMETERS>;

/** Back through the activation, row by row. */
const activationBack = /*#__PURE__*/ defineRoutine(
  "ffnActivationBack",
  PARAMETERS,
  (body, args, task) => {
    const { activation, rows, block, pitch, gradients, hidden, hiddenStride, to, order } = args;
    const words = readWords(body, activation);
    const first = body.let(task.mul(block));
    const end = body.let(first.add(block));
    body.set(end, end.minU(rows));
    body.for(first, end, 1, (row) => {
      const assignment = body.let(I32.load(order.add(row.shl(2))).shl(2));
      const place: RowPlace = {
        gradients: body.let(gradients.add(row.mul(pitch))),
        hidden: body.let(hidden.add(row.mul(hiddenStride))),
        to: body.let(to.add(row.mul(hiddenStride))),
        weight: body.let(F32x4.loadSplat(args.weights.add(assignment))),
        sum: body.let(F32x4.const(0)),
        column: body.int(0),
      };
      body.if(args.swiglu, () => swigluSteps(body, args, place));
      body.if(
        args.step,
        () => eachStep(body, args, place, () => gatedStep(body, args, words, place)),
        () => eachStep(body, args, place, () => plainStep(body, args, words, place)),
      );
      body.store(args.dWeights.add(assignment), laneSum(place.sum));
    });
  },
);

/** What a row works on; all are locals. */
interface RowPlace {
  readonly gradients: I32;
  readonly hidden: I32;
  readonly to: I32;
  readonly weight: F32x4;
  /** Products of activations and their gradients, so far. */
  readonly sum: F32x4;
  /** The next column. */
  readonly column: I32;
}

/** An activation and its gradient. */
interface Step {
  readonly value: F32x4;
  readonly gradient: F32x4;
}

/** The columns that are left, four at a time; `step` stores the gradients of sums. */
function eachStep(
  body: Body,
  { inner }: RowArguments,
  { gradients, weight, sum, column }: RowPlace,
  step: () => Step,
): void {
  body.while(
    () => column.ltU(inner),
    () => {
      const { value, gradient } = step();
      const product = value.mul(gradient).as(I32x4);
      body.set(sum, sum.add(product.and(laneMask(body, column, inner)).as(F32x4)));
      body.store(gradients.add(column.shl(2)), value.mul(weight));
      body.increment(column, 4);
    },
  );
}

/** As many columns as there are whole vectors, of a bank that is SwiGLU without limits. */
function swigluSteps(body: Body, args: RowArguments, place: RowPlace): void {
  const { gradients, hidden, to, weight, sum, column } = place;
  const { inner, gateFirst, upFirst, step } = args;
  const loop = (load: () => HalfVectors, store: (back: HalfVectors) => void): void =>
    body.while(
      () => column.add(3).ltU(inner),
      () => {
        const address = body.let(gradients.add(column.shl(2)));
        const gradient = body.let(F32x4.load(address));
        const { gate, up } = load();
        const back = swigluBack(body, gate, up, body.let(gradient.mul(weight)));
        body.set(sum, sum.add(back.value.mul(gradient)));
        body.store(address, back.value.mul(weight));
        store({ gate: back.gate, up: back.up ?? back.gate });
        body.increment(column, 4);
      },
    );
  body.if(
    step.eq(2),
    () =>
      loop(
        () => loadTurns(body, hidden, upFirst, column),
        (back) => storeBackTurns(body, to, upFirst, column, back),
      ),
    () =>
      loop(
        () => ({
          gate: body.let(F32x4.load(hidden.add(gateFirst.add(column).shl(2)))),
          up: body.let(F32x4.load(hidden.add(upFirst.add(column).shl(2)))),
        }),
        (back) => {
          body.store(to.add(gateFirst.add(column).shl(2)), back.gate);
          body.store(to.add(upFirst.add(column).shl(2)), back.up);
        },
      ),
  );
}

function plainStep(
  body: Body,
  { inner }: RowArguments,
  words: ActivationWords,
  { gradients, hidden, to, weight, column }: RowPlace,
): Step {
  const offset = body.let(column.shl(2));
  const gradient = body.let(F32x4.load(gradients.add(offset)));
  const x = body.let(F32x4.load(hidden.add(offset)));
  const back = backOf(body, words, x, undefined, body.let(gradient.mul(weight)));
  storeRows(body, [body.let(to.add(offset))], [[back.gate]], body.let(inner.sub(column)));
  return { value: back.value, gradient };
}

function gatedStep(
  body: Body,
  args: RowArguments,
  words: ActivationWords,
  { gradients, hidden, to, weight, column }: RowPlace,
): Step {
  const { inner, gateFirst, upFirst, step } = args;
  const gradient = body.let(F32x4.load(gradients.add(column.shl(2))));
  const gate = body.let(F32x4.const(0));
  const up = body.let(F32x4.const(0));
  body.if(
    step.eq(2),
    () => {
      const halves = loadTurns(body, hidden, upFirst, column);
      body.set(gate, halves.gate);
      body.set(up, halves.up);
    },
    () => {
      body.set(gate, F32x4.load(hidden.add(gateFirst.add(column).shl(2))));
      body.set(up, F32x4.load(hidden.add(upFirst.add(column).shl(2))));
    },
  );
  const back = backOf(body, words, gate, up, body.let(gradient.mul(weight)));
  const halves = { gate: back.gate, up: back.up ?? back.gate };
  const count = body.let(inner.sub(column));
  body.if(
    step.eq(2),
    () => storeBackTurns(body, to, upFirst, column, halves, count),
    () => {
      for (const [first, value] of [
        [gateFirst, halves.gate],
        [upFirst, halves.up],
      ] as const) {
        const address = body.let(to.add(first.add(column).shl(2)));
        storeRows(body, [address], [[body.let(value)]], count);
      }
    },
  );
  return { value: back.value, gradient };
}

/** Where the rows of a backward pass through the activation are. */
export interface BackRows {
  /** Gradients of activations `[live, innerPitch]`; activations times weights take their place. */
  readonly gradients: number;
  /** The residual `[A, hiddenSize]`. */
  readonly hidden: number;
  /** Where its gradient goes: `[live, hiddenSize]`. */
  readonly to: number;
  /** Where the gradients of `outputWeights` go, without the biases' part. */
  readonly dWeights: number;
}

/** Goes back through weights of outputs and the activation. */
export function runActivationBack(
  call: KernelCall,
  problem: FfnProblem,
  { live, order }: Assignments,
  rows: BackRows,
): void {
  const { hiddenSize, inner, innerPitch, outputWeights } = problem;
  const halves = halvesOf(problem);
  const block = rowsPerTask(hiddenSize);
  call.launch(
    activationBack,
    {
      activation: writeActivation(call, problem),
      swiglu: isSwiglu(problem) ? 1 : 0,
      rows: live,
      block,
      inner,
      pitch: innerPitch * 4,
      hiddenStride: hiddenSize * 4,
      ...rows,
      order,
      weights: outputWeights.address,
      gateFirst: halves?.gate ?? 0,
      upFirst: halves?.up ?? 0,
      step: halves?.step ?? 0,
    },
    Math.ceil(live / block),
  );
}

/** Routines of this file. */
export const backwardRowRoutines: readonly Routine[] = [activationBack];
