import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { F32x4 } from "../../emit/vectors.ts";
import type { KernelCall } from "../../kernel.ts";
import type { Arguments, Routine } from "../../routine.ts";
import { type HeldProduct, defineHeldProduct, heldRoutines, packHeld } from "../held.ts";
import type { FinishedTile, ProductDefinition } from "../products/index.ts";
import { activateGated, activatePlain, isSwiglu, swiglu, writeActivation } from "./activation.ts";
import type { Assignments } from "./assignments.ts";
import { type FfnProblem, halvesOf, upHeld } from "./problem.ts";
import { rowAddress, storeGated, storePlain } from "./store-hidden.ts";

const UP_PARAMETERS = {
  /** Address of the descriptor; 0: SwiGLU. */
  activation: I32,
  /** Address of the biases in the order of the panels' lanes, or 0; bytes from one expert to the next. */
  bias: I32,
  biasStride: I32,
  /** Where sums go, or 0; bytes of one row. */
  hidden: I32,
  hiddenStride: I32,
  /** I. */
  inner: I32,
  /** Places of the halves' first columns in a row of `hidden`, and the step: 1 or 2. */
  gateFirst: I32,
  upFirst: I32,
  step: I32,
} as const;

type UpParameters = typeof UP_PARAMETERS;
type UpArguments = Arguments<UpParameters>;

/** x times the up projection, and the activation of it. */
const plainDefinition: ProductDefinition<UpParameters> = {
  name: "ffnUp",
  layout: "rows",
  parameters: UP_PARAMETERS,
  epilogue(body, tile, args) {
    const { sums, column } = tile;
    addBias(body, tile, args);
    body.if(args.hidden, () => storePlain(body, tile, args));
    for (const [index, sumsOfRow] of sums.entries()) {
      const to = body.let(rowAddress(args.out, args.outStride, tile, index).add(column.shl(2)));
      for (const [vector, sum] of sumsOfRow.entries()) {
        const value = body.resultOf(F32x4, activatePlain, [sum, args.activation]);
        body.store(to, value, vector * 16);
      }
    }
  },
};
const plainUp: HeldProduct<UpParameters> = /*#__PURE__*/ defineHeldProduct(plainDefinition);

/** The same, of gates and what they gate, four of both in each panel. */
const gatedDefinition: ProductDefinition<UpParameters> = {
  name: "ffnUpGated",
  layout: "rows",
  parameters: UP_PARAMETERS,
  epilogue(body, tile, args) {
    const { column } = tile;
    addBias(body, tile, args);
    body.if(args.hidden, () => storeGated(body, tile, args));
    const storeEach = (activation: (gate: F32x4, up: F32x4) => F32x4): void =>
      eachPair(tile, (index, pair, gate, up) => {
        const to = rowAddress(args.out, args.outStride, tile, index).add(column.shl(1));
        body.store(to, activation(gate, up), pair * 16);
      });
    body.if(
      args.activation,
      () =>
        storeEach((gate, up) => body.resultOf(F32x4, activateGated, [gate, up, args.activation])),
      () => storeEach((gate, up) => swiglu(body, gate, up)),
    );
  },
};
const gatedUp: HeldProduct<UpParameters> = /*#__PURE__*/ defineHeldProduct(gatedDefinition);

/** What the up projection leaves behind. */
export interface UpOutput {
  /** Address of activations, a row for each assignment that is there, `innerPitch` floats apart. */
  readonly activations: number;
}

/** Where the rows of the up projection come from: floats, or rounded rows where products read those. */
export interface RowSource {
  /** Address of the first row, or of a table of their addresses. */
  readonly address: number;
  readonly gathered: boolean;
  /** Bytes of a row. */
  readonly stride: number;
}

/** Runs the up projection on sorted rows; its sums go to `hidden`, unless that is 0. */
export function runUp(
  call: KernelCall,
  problem: FfnProblem,
  { live, groups }: Assignments,
  source: RowSource,
  hidden: number,
): UpOutput {
  const { inputSize, inner, innerPitch, hiddenSize } = problem;
  const activations = call.temporary(live * innerPitch * 4);
  const halves = halvesOf(problem);
  const weights = packHeld(call, upHeld(problem));
  const { columns } = weights;
  const { gathered, stride: leftStride } = source;
  const leftStep = gathered ? 4 : leftStride;
  const segments = groups
    .filter(({ rows }) => rows > 0)
    .map(({ group, first, rows }) => ({
      left: source.address + first * leftStep,
      rows,
      row: first,
      group,
      inner: inputSize,
      leftStep,
    }));
  const launch = { segments, leftStride, gathered, out: activations, outStride: innerPitch * 4 };
  const more = {
    activation: isSwiglu(problem) ? 0 : writeActivation(call, problem),
    ...laneBiases(call, problem, columns),
    hidden,
    hiddenStride: hiddenSize * 4,
    inner,
    gateFirst: halves?.gate ?? 0,
    upFirst: halves?.up ?? 0,
    step: halves?.step ?? 1,
  };
  if (halves) weights.launch(gatedUp, launch, more);
  else weights.launch(plainUp, launch, more);
  return { activations };
}

/** The biases in the order of the panels' lanes. */
function laneBiases(
  call: KernelCall,
  problem: FfnProblem,
  lanes: number,
): { readonly bias: number; readonly biasStride: number } {
  const { upBias, hiddenSize, inner, experts } = problem;
  if (upBias === undefined) return { bias: 0, biasStride: 0 };
  const halves = halvesOf(problem);
  if (halves === undefined) return { bias: upBias.address, biasStride: hiddenSize * 4 };
  const { gate, up, step } = halves;
  const name = ["lanes", gate, up, step].join();
  const bias = call.derived(upBias, name, experts * lanes * 4, (address) => {
    const { buffer } = call.view;
    const from = new Float32Array(buffer, upBias.address, experts * hiddenSize);
    const to = new Float32Array(buffer, address, experts * lanes).fill(0);
    for (let expert = 0; expert < experts; expert++) {
      for (let column = 0; column < inner; column++) {
        const lane = expert * lanes + Math.trunc(column / 4) * 8 + (column % 4);
        to[lane] = from[expert * hiddenSize + gate + column * step] ?? 0;
        to[lane + 4] = from[expert * hiddenSize + up + column * step] ?? 0;
      }
    }
  });
  return { bias, biasStride: lanes * 4 };
}

function addBias(body: Body, { sums, column, group }: FinishedTile, args: UpArguments): void {
  body.if(args.bias, () => {
    const from = body.let(args.bias.add(group.mul(args.biasStride)).add(column.shl(2)));
    for (let vector = 0; vector < (sums[0]?.length ?? 0); vector++) {
      const bias = body.let(F32x4.load(from, vector * 16));
      for (const sumsOfRow of sums) {
        const sum = sumsOfRow[vector];
        if (sum) body.set(sum, sum.add(bias));
      }
    }
  });
}

/** Each row's pairs of gates and what they gate. */
function eachPair(
  { sums }: FinishedTile,
  visit: (row: number, pair: number, gate: F32x4, up: F32x4) => void,
): void {
  for (const [row, sumsOfRow] of sums.entries()) {
    for (let pair = 0; pair * 2 < sumsOfRow.length; pair++) {
      const [gate, up] = sumsOfRow.slice(pair * 2);
      if (gate && up) visit(row, pair, gate, up);
    }
  }
}

/** Routines of the up projection. */
export const upRoutines: readonly Routine[] = [
  .../*#__PURE__*/ heldRoutines(plainUp),
  .../*#__PURE__*/ heldRoutines(gatedUp),
];
