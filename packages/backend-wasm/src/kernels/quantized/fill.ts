import type { Body, Subroutine } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { F32x4 } from "../../emit/vectors.ts";
import { halfByteTables } from "./codes.ts";
import { PANEL, blocksWord, matrixWord } from "./matrix.ts";
import { type Held, ROUNDS, STEPS, eachNumber, stepsBytes } from "./numbers.ts";
import { callFindScales, callReadScales, callScaleSplat, stepScales } from "./scales.ts";

/** Bytes of one k of a panel of floats. */
const STEP_BYTES: number = PANEL * 4;

/** What {@link fillPanel} is called with, all of them words, in this order. */
export interface FillArguments {
  readonly matrix: I32;
  readonly group: I32;
  /** Number of the panel in the matrix. */
  readonly panel: I32;
  /** Address of its codes. */
  readonly codes: I32;
  /** Where floats go: whole blocks of ks. */
  readonly to: I32;
  /** Where addresses of scales may be held. */
  readonly work: I32;
}

const NAMES = ["matrix", "group", "panel", "codes", "to", "work"] as const;

/** Turns a panel's codes into floats, `[K in blocks of 32][8]`: each is a number times its scale, rounded. */
const fillPanel: Subroutine = {
  name: "fillPanel",
  parameters: /*#__PURE__*/ NAMES.map(() => "i32"),
  write(body) {
    const entries = NAMES.map((name, index) => [name, body.parameter(I32, index)]);
    const args = Object.fromEntries(entries) as unknown as FillArguments;
    const kind = matrixWord(body, args.matrix, "kind");
    const transposed = matrixWord(body, args.matrix, "transposed");
    const fill = (held: Held): void =>
      body.if(
        transposed,
        () => fillBySteps(body, args, held),
        () => fillByColumns(body, args, held),
      );
    body.if(
      kind,
      () => fill(halfByteTables(body, kind)),
      () => fill("bytes"),
    );
  },
};

/** Calls {@link fillPanel}. */
export function callFill(body: Body, args: FillArguments): void {
  body.callSubroutine(
    fillPanel,
    NAMES.map((name) => args[name]),
  );
}

function fillByColumns(body: Body, args: FillArguments, held: Held): void {
  const { matrix, group, panel, codes, to, work } = args;
  callFindScales(body, matrix, group, panel, work);
  const exponents = matrixWord(body, matrix, "exponents");
  const scaleStep = matrixWord(body, matrix, "scaleStep");
  const offset = body.int(0);
  const blocks = blocksWord(body, matrix);
  const vectors = [0, 1].map(() => body.let(F32x4.const(0)));
  body.for(0, blocks, 1, () => {
    callReadScales(body, work, offset, exponents, vectors);
    body.increment(offset, scaleStep);
    body.for(0, ROUNDS, 1, () => {
      eachNumber(body, held, codes, (number, step, vector) => {
        const scale = vectors[vector] ?? number;
        body.store(to, number.mul(scale), step * STEP_BYTES + vector * 16);
      });
      body.increment(codes, stepsBytes(held));
      body.increment(to, STEPS * STEP_BYTES);
    });
  });
}

/** Behind the last k there are no scales, and what the codes there give is not read. */
function fillBySteps(body: Body, args: FillArguments, held: Held): void {
  const { matrix, group, panel, codes, to } = args;
  const { addresses, step: scaleStep, exponents } = stepScales(body, matrix, group, panel);
  const rest = matrixWord(body, matrix, "inner");
  const vectors = [0, 1].map(() => body.let(F32x4.const(0)));
  body.while(
    () => rest.gt(0),
    () => {
      eachNumber(body, held, codes, (number, step, vector) => {
        if (vector === 0) {
          body.if(rest.gt(step), () => {
            for (const [index, address] of addresses.entries()) {
              const scale = vectors[index];
              if (scale) body.set(scale, callScaleSplat(body, address, exponents));
              body.increment(address, scaleStep);
            }
          });
        }
        const scale = vectors[vector] ?? number;
        body.store(to, number.mul(scale), step * STEP_BYTES + vector * 16);
      });
      body.increment(codes, stepsBytes(held));
      body.increment(to, STEPS * STEP_BYTES);
      body.set(rest, rest.sub(STEPS));
    },
  );
}
