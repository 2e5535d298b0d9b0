import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { I32x4, I8x16, loadVector } from "../../emit/vectors.ts";
import type { KernelCall } from "../../kernel.ts";
import { type Routine, defineRoutine } from "../../routine.ts";
import {
  type WalkParameters,
  type WalkedRow,
  eachRow,
  gridOf,
  launchWalk,
  walkParameters,
} from "../grid.ts";
import { eachVector, storeFirst } from "../vector-loop.ts";
import { launchTranspose } from "./transpose.ts";

const NAMES = ["to", "from"] as const;

/** Rows of so many bytes are left to the engine's own copy, which costs a call. */
const LONG = 512;
const UNROLL = 4;
/** Bytes of one task. */
const GRAIN = 65_536;

/** Copies bytes that do not overlap; `bytes` is a local. */
export function copyBytes(body: Body, to: I32, from: I32, bytes: I32): void {
  const [target, source] = [body.let(to), body.let(from)];
  body.if(
    bytes.geU(LONG),
    () => body.copy(target, source, bytes),
    () =>
      eachVector(
        body,
        I32.const(0),
        bytes,
        UNROLL,
        (offset, constant) => {
          const vector = loadVector(I8x16, source.add(offset), constant);
          body.store(target.add(offset), vector, constant);
        },
        (offset, rest) => {
          const vector = body.let(loadVector(I8x16, source.add(offset)));
          storeFirst(body, target.add(offset), vector, rest, 1);
        },
      ),
  );
}

/** Copies rows whose elements are neighbours on both sides. Lengths are in bytes. */
const copyRows: Routine<WalkParameters<"to" | "from">> = /*#__PURE__*/ defineRoutine(
  "copyRows",
  /*#__PURE__*/ walkParameters(NAMES),
  (body, args, task) => {
    eachRow(body, args, NAMES, task, ({ at, from, to }) => {
      copyBytes(body, at.to.add(from), at.from.add(from), body.let(to.sub(from)));
    });
  },
);

/** Fills rows with one element each. Lengths are in bytes. */
const repeatElements: Routine<WalkParameters<"to" | "from"> & { readonly unit: typeof I32 }> =
  /*#__PURE__*/ defineRoutine(
    "repeatElements",
    { .../*#__PURE__*/ walkParameters(NAMES), unit: I32 },
    (body, args, task) => {
      eachRow(body, args, NAMES, task, ({ at, from, to }) => {
        const word = body.let(I32.load(at.from));
        body.if(args.unit.eq(2), () => body.set(word, word.and(0xffff).mul(0x00010001)));
        body.if(args.unit.eq(1), () => body.set(word, word.and(0xff).mul(0x01010101)));
        const vector = body.let(I32x4.splat(word));
        eachVector(
          body,
          from,
          to,
          UNROLL,
          (offset, constant) => body.store(at.to.add(offset), vector, constant),
          (offset, rest) => storeFirst(body, at.to.add(offset), vector, rest, 1),
        );
      });
    },
  );

/** Copies elements that lie apart, one by one. Lengths are in elements, strides in bytes. */
const copyApart: Routine<
  WalkParameters<"to" | "from"> & Readonly<Record<"unit" | "toStride" | "fromStride", typeof I32>>
> = /*#__PURE__*/ defineRoutine(
  "copyApart",
  { .../*#__PURE__*/ walkParameters(NAMES), unit: I32, toStride: I32, fromStride: I32 },
  (body, args, task) => {
    eachRow(body, args, NAMES, task, (row) => {
      const each = (bytes: number, move: (to: I32, from: I32) => void): void =>
        body.if(args.unit.eq(bytes), () => eachElement(body, row, args, move));
      each(4, (to, from) => body.store(to, I32.load(from)));
      each(2, (to, from) => body.store16(to, I32.load16U(from)));
      each(1, (to, from) => body.store8(to, I32.load8U(from)));
    });
  },
);

function eachElement(
  body: Body,
  { at, from, to }: WalkedRow<"to" | "from">,
  { toStride, fromStride }: Readonly<Record<"toStride" | "fromStride", I32>>,
  move: (to: I32, from: I32) => void,
): void {
  const source = body.let(at.from.add(from.mul(fromStride)));
  const target = body.let(at.to.add(from.mul(toStride)));
  body.for(from, to, 1, () => {
    move(target, source);
    body.increment(source, fromStride);
    body.increment(target, toStride);
  });
}

/** Where a copy begins in memory, and how it walks along each axis of what is copied, in elements. */
export interface Region {
  readonly address: number;
  readonly strides: readonly number[];
}

/** Copies elements of a shape from one region to another, which do not overlap. */
export function copyRegion(
  call: KernelCall,
  shape: readonly number[],
  unit: number,
  source: Region,
  target: Region,
): void {
  const { sizes, strides } = gridOf(shape, [source.strides, target.strides]);
  const [from = [], to = []] = strides.map((list) => list.map((stride) => stride * unit));
  const arrays = {
    to: { address: target.address, strides: to },
    from: { address: source.address, strides: from },
  };
  const [toStride = unit, fromStride = unit] = [to.at(-1), from.at(-1)];
  const inBytes = sizes.with(-1, (sizes.at(-1) ?? 1) * unit);
  const dense = toStride === unit;
  if (dense && fromStride === unit) {
    return launchWalk(call, copyRows, inBytes, arrays, {}, { grain: GRAIN });
  }
  if (dense && fromStride === 0) {
    return launchWalk(call, repeatElements, inBytes, arrays, { unit }, { grain: GRAIN });
  }
  if (dense && unit === 4 && launchTranspose(call, sizes, arrays)) return;
  launchWalk(call, copyApart, sizes, arrays, { unit, toStride, fromStride });
}

/** Copies a whole buffer. */
export function copyBuffer(
  call: KernelCall,
  from: number,
  to: { readonly address: number; readonly byteLength: number },
): void {
  const { address, byteLength } = to;
  copyRegion(call, [byteLength], 1, { address: from, strides: [1] }, { address, strides: [1] });
}

/** Routines of these copies. */
export const copyRoutines: readonly Routine[] = [copyRows, repeatElements, copyApart];
