import { type DequantizeAttributes, UnsupportedError, quantizedFormats } from "@moiety/core";
import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { F32x4, type I16x8, I8x16, shuffle } from "../../emit/vectors.ts";
import type { Kernel } from "../../kernel.ts";
import { type Routine, defineRoutine } from "../../routine.ts";
import { FLAT_GRAIN } from "../flat.ts";
import { type WalkParameters, eachRow, launchWalk, walkParameters } from "../grid.ts";
import { storeFirstOf } from "../vector-loop.ts";
import {
  BLOCK,
  CODE_KINDS,
  halfByteNumbers,
  halfByteTables,
  halvesOfBytes,
  loadBytes,
} from "./codes.ts";
import { callScaleSplat } from "./scales.ts";

const NAMES = ["to", "codes", "scales"] as const;
/** Codes of one step. */
const STEP = 16;
/** The code of 0 in a byte; without it codes are signed. */
const ZERO = 128;

/** Sixteen bytes as codes around {@link ZERO}: four vectors of numbers. */
function numbersOf(body: Body, bytes: I8x16): F32x4[] {
  const codes = body.let(bytes.sub(I8x16.splat(ZERO)));
  return [codes.extendLow(), codes.extendHigh()].flatMap((words: I16x8) => {
    const held = body.let(words);
    return [held.extendLow().toF32x4(), held.extendHigh().toF32x4()];
  });
}

/** Values of codes with one scale for each row. */
const dequantizeRows: Routine<WalkParameters<(typeof NAMES)[number]>> = /*#__PURE__*/ defineRoutine(
  "dequantizeRows",
  /*#__PURE__*/ walkParameters(NAMES),
  (body, args, task) => {
    eachRow(body, args, NAMES, task, ({ at, from, to }) => {
      const scale = body.let(F32x4.loadSplat(at.scales));
      body.for(from, to, STEP, (place) => {
        const numbers = numbersOf(body, loadBytes(at.codes.add(place)));
        const scaled = numbers.map((number) => body.let(number.mul(scale)));
        storeFirstOf(body, at.to.add(place.shl(2)), scaled, body.let(to.sub(place)));
      });
    });
  },
);

/** Blocks of one task. */
const TASK_BLOCKS: number = FLAT_GRAIN / BLOCK;

const BLOCK_PARAMETERS = {
  to: I32,
  codes: I32,
  scales: I32,
  blocks: I32,
  /** One of {@link CODE_KINDS}. */
  kind: I32,
  /** Not 0: scales are exponents. */
  exponents: I32,
} as const;

/** Values of codes with one scale for each block. */
const dequantizeBlocks: Routine<typeof BLOCK_PARAMETERS> = /*#__PURE__*/ defineRoutine(
  "dequantizeBlocks",
  BLOCK_PARAMETERS,
  (body, { to, codes, scales, blocks, kind, exponents }, task) => {
    const tables = halfByteTables(body, kind);
    const first = body.let(task.mul(TASK_BLOCKS));
    const end = body.let(first.add(TASK_BLOCKS));
    body.set(end, end.minU(blocks));
    const scaleShift = body.let(I32.const(2).select(exponents.eq(0), I32.const(0)));
    const codeShift = body.let(I32.const(5).select(kind.eq(0), I32.const(4)));
    body.for(first, end, 1, (block) => {
      const scale = body.let(callScaleSplat(body, scales.add(block.shl(scaleShift)), exponents));
      const from = body.let(codes.add(block.shl(codeShift)));
      const target = body.let(to.add(block.mul(BLOCK * 4)));
      const store = (numbers: readonly F32x4[], offset: number): void => {
        for (const [index, number] of numbers.entries()) {
          body.store(target, number.mul(scale), offset + index * 16);
        }
      };
      body.if(
        kind,
        () => {
          const [low, high] = halvesOfBytes(body, loadBytes(from));
          const mixed = [turns(body, low, high, 0), turns(body, low, high, 8)];
          for (const [index, ordered] of mixed.entries()) {
            store(halfByteNumbers(body, ordered, tables), index * 64);
          }
        },
        () => {
          store(numbersOf(body, loadBytes(from)), 0);
          store(numbersOf(body, loadBytes(from, STEP)), STEP * 4);
        },
      );
    });
  },
);

/** Eight bytes of each vector, one of each in turn. */
function turns(body: Body, low: I8x16, high: I8x16, from: number): I8x16 {
  const places = Array.from({ length: 8 }, (_, index) => [from + index, 16 + from + index]);
  return body.let(shuffle(low, high, places.flat(), I8x16));
}

/** Values of quantised weights: a code's number times the scale of its row or block. */
export const dequantize: Kernel = (call) => {
  const { format } = call.attributes<DequantizeAttributes>();
  const layout = Object.hasOwn(quantizedFormats, format) ? quantizedFormats[format] : undefined;
  if (layout === undefined) {
    throw new UnsupportedError(`the wasm backend does not read the format ${format}`, format);
  }
  const codes = call.input(0);
  const scales = call.input(1);
  const output = call.make(0);
  if (layout.block === undefined) {
    const width = codes.shape.at(-1) ?? 1;
    launchWalk(
      call,
      dequantizeRows,
      [scales.size, width],
      {
        to: { address: output.address, strides: [width * 4, 4] },
        codes: { address: codes.address, strides: [width, 1] },
        scales: { address: scales.address, strides: [4, 0] },
      },
      {},
    );
    return [output];
  }
  const args = {
    to: output.address,
    codes: codes.address,
    scales: scales.address,
    blocks: scales.size,
    kind: CODE_KINDS[format],
    exponents: scales.dtype === "u8" ? 1 : 0,
  };
  call.launch(dequantizeBlocks, args, Math.ceil(scales.size / TASK_BLOCKS));
  return [output];
};

/** The routines of this kernel. */
export const dequantizeRoutines: readonly Routine[] = [dequantizeRows, dequantizeBlocks];
