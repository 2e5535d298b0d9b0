import { type RopeAttributes, sizeOf } from "@moiety/core";
import type { Body } from "../../emit/body.ts";
import { F32, I32 } from "../../emit/scalars.ts";
import { F32x4, I32x4, shuffle } from "../../emit/vectors.ts";
import type { Kernel, KernelCall } from "../../kernel.ts";
import { type Routine, defineRoutine } from "../../routine.ts";
import { copyRow, wholeVectors, wordAt } from "../reduction/lanes.ts";
import { eachRow, rowsPerTask } from "./rows.ts";

/** Lanes 0, 2 of two vectors, and lanes 1, 3. */
const EVEN = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27];
const ODD = [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31];
/** Lanes of two vectors in turn: the first two of each, and the last two. */
const WOVEN_LOW = [0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23];
const WOVEN_HIGH = [8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31];

/** Addresses of one head's elements, and of its tables' rows. */
interface Head {
  readonly from: I32;
  readonly to: I32;
  readonly cosines: I32;
  readonly sines: I32;
  readonly pairs: I32;
  readonly sign: I32;
}

const ropeTokens = /*#__PURE__*/ defineRoutine(
  "rope",
  {
    x: I32,
    y: I32,
    cos: I32,
    sin: I32,
    offsets: I32,
    tokens: I32,
    sequence: I32,
    heads: I32,
    width: I32,
    pairs: I32,
    interleaved: I32,
    sign: I32,
    perTask: I32,
  },
  (body, args, task) => {
    const { x, y, cos, sin, offsets, tokens, sequence, heads, width, pairs, sign } = args;
    eachRow(body, task, { rows: tokens, perTask: args.perTask }, (token) => {
      const lead = body.let(token.divU(sequence));
      const place = token.sub(lead.mul(sequence)).mul(pairs);
      const row = body.let(I32.load(wordAt(offsets, lead)).add(place));
      const [cosines, sines] = [body.let(wordAt(cos, row)), body.let(wordAt(sin, row))];
      const first = body.let(token.mul(heads).mul(width));
      body.for(0, heads, 1, () => {
        const [from, to] = [body.let(wordAt(x, first)), body.let(wordAt(y, first))];
        const head = { from, to, cosines, sines, pairs, sign };
        body.if(
          args.interleaved,
          () => turnNeighbours(body, head),
          () => turnHalves(body, head),
        );
        const turned = body.let(pairs.shl(1));
        body.if(turned.ltU(width).and(from.ne(to)), () =>
          copyRow(body, wordAt(to, turned), wordAt(from, turned), width.sub(turned)),
        );
        body.increment(first, width);
      });
    });
  },
);

/** Pairs (i, i + P). */
function turnHalves(body: Body, { from, to, cosines, sines, pairs, sign }: Head): void {
  const half = body.let(pairs.shl(2));
  const whole = body.let(wholeVectors(pairs));
  body.for(0, whole, 4, (pair) => {
    const [low, low2] = [body.let(wordAt(from, pair)), body.let(wordAt(to, pair))];
    const [a, b] = [body.let(F32x4.load(low)), body.let(F32x4.load(low.add(half)))];
    const [cos, sin] = tablesAt(body, cosines, sines, pair, sign);
    body.store(low2, a.mul(cos).sub(b.mul(sin)));
    body.store(low2.add(half), b.mul(cos).add(a.mul(sin)));
  });
  body.for(whole, pairs, 1, (pair) => {
    const [low, low2] = [body.let(wordAt(from, pair)), body.let(wordAt(to, pair))];
    turnPair(body, [low, body.let(low.add(half))], [low2, body.let(low2.add(half))], {
      cos: F32.load(wordAt(cosines, pair)),
      sin: signed(I32.load(wordAt(sines, pair)), sign),
    });
  });
}

/** Pairs (2i, 2i + 1). */
function turnNeighbours(body: Body, { from, to, cosines, sines, pairs, sign }: Head): void {
  const whole = body.let(wholeVectors(pairs));
  body.for(0, whole, 4, (pair) => {
    const at = body.let(wordAt(from, pair.shl(1)));
    const [low, high] = [body.let(F32x4.load(at)), body.let(F32x4.load(at, 16))];
    const a = body.let(shuffle(low, high, EVEN, F32x4));
    const b = body.let(shuffle(low, high, ODD, F32x4));
    const [cos, sin] = tablesAt(body, cosines, sines, pair, sign);
    const first = body.let(a.mul(cos).sub(b.mul(sin)));
    const second = body.let(b.mul(cos).add(a.mul(sin)));
    const target = body.let(wordAt(to, pair.shl(1)));
    body.store(target, shuffle(first, second, WOVEN_LOW, F32x4));
    body.store(target, shuffle(first, second, WOVEN_HIGH, F32x4), 16);
  });
  body.for(whole, pairs, 1, (pair) => {
    const [at, target] = [from, to].map((base) => body.let(wordAt(base, pair.shl(1)))) as [
      I32,
      I32,
    ];
    turnPair(body, [at, body.let(at.add(4))], [target, body.let(target.add(4))], {
      cos: F32.load(wordAt(cosines, pair)),
      sin: signed(I32.load(wordAt(sines, pair)), sign),
    });
  });
}

function tablesAt(
  body: Body,
  cosines: I32,
  sines: I32,
  pair: I32,
  sign: I32,
): readonly [cos: F32x4, sin: F32x4] {
  const sin = I32x4.load(wordAt(sines, pair)).xor(I32x4.splat(sign));
  return [body.let(F32x4.load(wordAt(cosines, pair))), body.let(sin.as(F32x4))];
}

function turnPair(
  body: Body,
  from: readonly [I32, I32],
  to: readonly [I32, I32],
  angle: { readonly cos: F32; readonly sin: F32 },
): void {
  const [a, b] = [body.let(F32.load(from[0])), body.let(F32.load(from[1]))];
  const [cos, sin] = [body.let(angle.cos), body.let(angle.sin)];
  body.store(to[0], a.mul(cos).sub(b.mul(sin)));
  body.store(to[1], b.mul(cos).add(a.mul(sin)));
}

function signed(sine: I32, sign: I32): F32 {
  return sine.xor(sign).asF32();
}

/** `rope`. */
export const rope: Kernel = (call) => {
  const [x, cos, sin] = [call.input(0), call.input(1), call.input(2)];
  const { interleaved, inverse } = call.attributes<RopeAttributes>();
  const [sequence = 0, heads = 0, width = 0] = x.shape.slice(-3);
  const pairs = cos.shape.at(-1) ?? 0;
  const y = call.reuse(0, 1);
  if (x.size === 0) return [y];
  const tokens = x.size / (heads * width);
  const offsets = tableOffsets(call);
  const perTask = rowsPerTask(heads * width);
  call.launch(
    ropeTokens,
    {
      x: x.address,
      y: y.address,
      cos: cos.address,
      sin: sin.address,
      offsets,
      tokens,
      sequence,
      heads,
      width,
      pairs,
      interleaved: interleaved ? 1 : 0,
      sign: inverse ? 2 ** 31 : 0,
      perTask,
    },
    Math.ceil(tokens / perTask),
  );
  return [y];
};

/** For each sequence of x: which element of the tables its first row begins with. */
function tableOffsets(call: KernelCall): number {
  const lead = call.input(0).shape.slice(0, -3);
  const { shape } = call.input(1);
  const perTable = sizeOf(shape.slice(-2));
  const count = sizeOf(lead);
  const address = call.temporary(count * 4);
  const { ownView: view } = call;
  const tableLead = shape.slice(0, -2);
  const padded = [...lead.map(() => 1).slice(tableLead.length), ...tableLead];
  for (let index = 0; index < count; index++) {
    let [rest, stride, table] = [index, 1, 0];
    for (let axis = lead.length - 1; axis >= 0; axis--) {
      const size = lead[axis] ?? 1;
      const tableSize = padded[axis] ?? 1;
      if (tableSize > 1) table += (rest % size) * stride;
      stride *= tableSize;
      rest = Math.floor(rest / size);
    }
    view.setUint32(address + index * 4, table * perTable, true);
  }
  return address;
}

/** Routines of these kernels. */
export const ropeRoutines: readonly Routine[] = [ropeTokens];
