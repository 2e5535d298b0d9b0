import type { RandomKey } from "@moiety/core";
import type { Body } from "../../emit/body.ts";
import { I32 } from "../../emit/scalars.ts";
import { F32x4, I32x4, shuffle, vectorConst } from "../../emit/vectors.ts";
import type { Kernel, KernelCall } from "../../kernel.ts";
import { type Routine, defineRoutine } from "../../routine.ts";
import { eachFlat, flatTasks } from "../flat.ts";
import { log4 } from "../functions/index.ts";
import { polynomial } from "../functions/polynomial.ts";

const PARITY = 0x1bd11bda;
const ROTATIONS = [
  [13, 15, 26, 6],
  [17, 29, 16, 24],
] as const;
const GROUPS = 5;
/** The bytes of the words 0, 1, 2, 3. */
const LANES = /*#__PURE__*/ [0, 1, 2, 3].flatMap((lane) => [lane, 0, 0, 0]);
/** Words of one step: two of each of four blocks. */
const STEP = 8;

/** Words 0 and 1 of four blocks one after the other: the first two blocks, and the others. */
const FIRST = [0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23];
const SECOND = /*#__PURE__*/ FIRST.map((place) => place + 8);

const DRAW = { to: I32, count: I32, key0: I32, key1: I32 };

/** Four blocks of Threefry 2×32 with 20 rounds, at the counters `[counter, 0]`; the words in order. */
function threefry(body: Body, keys: readonly [I32, I32], counter: I32x4): readonly [I32x4, I32x4] {
  const [key0, key1] = keys;
  const schedule = [key0, key1, body.let(key0.xor(key1).xor(PARITY))];
  const part = (index: number): I32 => schedule[index % 3] ?? key0;
  const left = body.let(counter.add(I32x4.splat(key0)));
  const right = body.let(I32x4.splat(key1));
  for (let group = 0; group < GROUPS; group++) {
    for (const rotation of ROTATIONS[(group & 1) as 0 | 1]) {
      body.set(left, left.add(right));
      body.set(
        right,
        right
          .shl(rotation)
          .or(right.shrU(32 - rotation))
          .xor(left),
      );
    }
    body.set(left, left.add(I32x4.splat(part(group + 1))));
    body.set(right, right.add(I32x4.splat(part(group + 2).add(group + 1))));
  }
  return [
    body.let(shuffle(left, right, FIRST, I32x4)),
    body.let(shuffle(left, right, SECOND, I32x4)),
  ];
}

type DrawRoutine = Routine<typeof DRAW>;

/** A routine that stores what it makes of random words, which are locals. */
function drawing(name: string, make: (body: Body, words: I32x4) => I32x4 | F32x4): DrawRoutine {
  return defineRoutine(name, DRAW, (body, { to, count, key0, key1 }, task) => {
    eachFlat(body, task, count, STEP, (index) => {
      const counter = I32x4.splat(index.shrU(1)).add(vectorConst(I32x4, LANES));
      const address = body.let(to.add(index.shl(2)));
      for (const [half, words] of threefry(body, [key0, key1], counter).entries()) {
        body.store(address, make(body, words), half * 16);
      }
    });
  });
}

const drawBits: DrawRoutine = /*#__PURE__*/ drawing("randomBits", (_, words) => words);

const drawUniform: DrawRoutine = /*#__PURE__*/ drawing("uniform", (_, words) =>
  words
    .shrU(8)
    .toF32x4()
    .mul(F32x4.const(2 ** -24)),
);

/** AS 241, PPND7 (Wichura, Applied Statistics 37, 1988), highest powers first. */
const CENTRE = {
  above: [59.10937472, 159.29113202, 50.434271938, 3.3871327179],
  below: [67.1875636, 78.757757664, 17.895169469, 1],
};
const TAIL = {
  above: [0.17023821103, 1.3067284816, 2.75681539, 1.4234372777],
  below: [0.12021132975, 0.7370016425, 1],
};

/** The normal quantile at (words >>> 8 + ½) · 2⁻²⁴. Both the distances from ½ and from the ends are exact. */
const drawNormal: DrawRoutine = /*#__PURE__*/ drawing("normal", (body, words) => {
  const odd = body.let(
    words
      .shrU(8)
      .shl(1)
      .sub(I32x4.const(2 ** 24 - 1)),
  );
  const centred = body.let(odd.toF32x4().mul(F32x4.const(2 ** -25)));
  const square = body.let(F32x4.const(0.180625).sub(centred.mul(centred)));
  const ratio = (x: F32x4, { above, below }: typeof CENTRE): F32x4 =>
    polynomial(body, x, above).div(polynomial(body, x, below));
  const middle = body.let(centred.mul(ratio(square, CENTRE)));
  const distance = I32x4.const(2 ** 24)
    .sub(odd.abs())
    .toF32x4()
    .mul(F32x4.const(2 ** -25));
  const depth = log4(body, distance).neg().sqrt();
  const beyond = body.let(depth.sub(F32x4.const(1.6)));
  const size = body.let(ratio(beyond, TAIL));
  const outer = centred.lt(F32x4.const(0)).choose(size.neg(), size);
  return centred.abs().le(F32x4.const(0.425)).choose(middle, outer);
});

/** A kernel that stores numbers drawn by a key. */
function drawn(routine: DrawRoutine): Kernel {
  return (call: KernelCall) => {
    const { key } = call.attributes<{ key: RandomKey }>();
    const output = call.make(0);
    const count = call.outputSize(0);
    const args = { to: output.address, count, key0: key[0], key1: key[1] };
    call.launch(routine, args, flatTasks(count));
    return [output];
  };
}

/** u32 words of Threefry 2×32. */
export const randomBits: Kernel = /*#__PURE__*/ drawn(drawBits);

/** Uniform numbers in [0, 1). */
export const uniform: Kernel = /*#__PURE__*/ drawn(drawUniform);

/** Standard normal numbers. */
export const normal: Kernel = /*#__PURE__*/ drawn(drawNormal);

/** Routines of these kernels. */
export const randomRoutines: readonly Routine[] = [drawBits, drawUniform, drawNormal];
