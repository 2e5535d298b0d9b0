import type { Body, Subroutine } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { F32x4, I32x4 } from "../../emit/vectors.ts";
import { powersOf } from "./codes.ts";
import { PANEL, columnOfLane, matrixWord, storedColumn } from "./matrix.ts";

/** Bytes of the scales of a panel, and of their addresses: a word for each lane. */
export const LANES_BYTES: number = PANEL * 4;

/**
 * Writes the addresses of the scales of a panel's lanes, where a stored row holds the ks of one column:
 * those of the first block. Lanes without a column have those of the last. Parameters: the matrices,
 * which of them, the panel, and where the addresses go.
 */
const findScales: Subroutine = {
  name: "findScales",
  parameters: ["i32", "i32", "i32", "i32"],
  write(body) {
    const [matrix, group, panel, to] = [0, 1, 2, 3].map((index) => body.parameter(I32, index)) as [
      I32,
      I32,
      I32,
      I32,
    ];
    const last = body.let(matrixWord(body, matrix, "columns").sub(1));
    const row = matrixWord(body, matrix, "scalesRow");
    const first = body.let(scalesOf(body, matrix, group));
    for (let lane = 0; lane < PANEL; lane++) {
      const column = columnOfLane(body, matrix, panel, lane);
      body.set(column, column.minU(last));
      body.store(to, first.add(storedColumn(body, matrix, column, lane).mul(row)), lane * 4);
    }
  },
};

/** Writes the addresses of a panel's scales: {@link LANES_BYTES}. */
export function callFindScales(body: Body, matrix: I32, group: I32, panel: I32, to: I32): void {
  body.callSubroutine(findScales, [matrix, group, panel, to]);
}

/**
 * Reads four scales as floats. Parameters: where their addresses are, what is added to them, and
 * whether scales are exponents.
 */
const readScales: Subroutine = {
  name: "readScales",
  parameters: ["i32", "i32", "i32"],
  result: "v128",
  write(body) {
    const [addresses, offset, exponents] = [0, 1, 2].map((index) => body.parameter(I32, index)) as [
      I32,
      I32,
      I32,
    ];
    const words = body.let(I32x4.const(0));
    const gather = (load: (address: I32) => I32): void => {
      for (let lane = 0; lane < 4; lane++) {
        const address = I32.load(addresses, lane * 4).add(offset);
        body.set(words, words.withLane(lane, load(address)));
      }
    };
    body.if(
      exponents,
      () => {
        gather((address) => I32.load8U(address));
        body.returnValue(powersOf(body, words));
      },
      () => gather((address) => I32.load(address)),
    );
    body.returnValue(words);
  },
};

/** Reads the scales of a panel's block, `offset` bytes from those that were found, into two locals. */
export function callReadScales(
  body: Body,
  addresses: I32,
  offset: I32,
  exponents: I32,
  into: readonly F32x4[],
): void {
  for (const [half, vector] of into.entries()) {
    const from = addresses.add((half * LANES_BYTES) / 2);
    body.set(vector, body.resultOf(F32x4, readScales, [from, offset, exponents]));
  }
}

/** A scale from memory in all lanes. Parameters: its address, and whether it is an exponent. */
const scaleSplat: Subroutine = {
  name: "scaleSplat",
  parameters: ["i32", "i32"],
  result: "v128",
  write(body) {
    const [address, exponent] = [body.parameter(I32, 0), body.parameter(I32, 1)];
    body.if(exponent, () => {
      const words = body.let(I32x4.splat(I32.load8U(address)));
      body.returnValue(powersOf(body, words));
    });
    body.returnValue(F32x4.loadSplat(address));
  },
};

/** A scale from memory in all lanes: a float, or an exponent. */
export function callScaleSplat(body: Body, address: I32, exponent: I32): F32x4 {
  return body.resultOf(F32x4, scaleSplat, [address, exponent]);
}

/** The scales of the ks of a panel, where a stored row holds the columns of one k. */
export interface StepScales {
  /** Where the scales of lanes 0 … 3 and 4 … 7 are, now: of a column each, as four of them share a block. */
  readonly addresses: readonly I32[];
  /** Bytes to the next k's. */
  readonly step: I32;
  /** Not 0: scales are exponents. */
  readonly exponents: I32;
}

/** The scales of a panel of matrix `group`. */
export function stepScales(body: Body, matrix: I32, group: I32, panel: I32): StepScales {
  const step = matrixWord(body, matrix, "scalesRow");
  const last = body.let(matrixWord(body, matrix, "columns").sub(1));
  const first = body.let(scalesOf(body, matrix, group));
  const scaleStep = matrixWord(body, matrix, "scaleStep");
  const addresses = [0, PANEL / 2].map((lane) => {
    const column = columnOfLane(body, matrix, panel, lane);
    body.set(column, column.minU(last));
    const stored = storedColumn(body, matrix, column, lane);
    return body.let(first.add(stored.shrU(BLOCK_SHIFT).mul(scaleStep)));
  });
  return { addresses, step, exponents: matrixWord(body, matrix, "exponents") };
}

const BLOCK_SHIFT = 5;

function scalesOf(body: Body, matrix: I32, group: I32): I32 {
  const bytes = matrixWord(body, matrix, "scalesMatrix");
  return matrixWord(body, matrix, "scales").add(group.mul(bytes));
}
