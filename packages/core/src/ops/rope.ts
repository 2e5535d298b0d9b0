import type { Backend } from "../contract.ts";
import type { FloatDType } from "../dtype.ts";
import { pullBack } from "../gradient.ts";
import { type Op, defineOp } from "../op.ts";
import { broadcastShapes, sameShape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { add, mul, neg, sub } from "./arithmetic.ts";
import { FLOATS, requireOneDType, requireRank, requireWhole, shapeError } from "./checks.ts";
import { concat, slice } from "./layout.ts";

/** Attributes of {@link rope}. */
export interface RopeAttributes {
  /** Pairs are neighbours (2i, 2i + 1) instead of (i, i + P). */
  readonly interleaved?: boolean | undefined;
  /** Turn back: the sign of `sin` is changed. */
  readonly inverse?: boolean | undefined;
}

/**
 * Rotary position embedding (Su et al., 2021): `x […, T, heads, D]`, `cos` and `sin […, T, P]` with
 * 2P ≤ D → the first 2P of D turned by the angle of their position and pair, the others as they
 * are. All of one float dtype; leading dimensions of the tables broadcast to those of `x`.
 *
 * Pair i is elements (i, i + P), Hugging Face's `rotate_half`, or (2i, 2i + 1) when `interleaved`:
 * `(a, b) → (a · cos − b · sin, b · cos + a · sin)`. The tables come from {@link rotaryTable}: angles
 * grow with the position, and a device's sine is only good near 0. Gradient: the inverse turn.
 */
export const rope: Op<[x: Tensor, cos: Tensor, sin: Tensor], RopeAttributes> =
  /*#__PURE__*/ defineOp({
    name: "rope",
    inputs: ["x", "cos", "sin"],
    infer([x, cos, sin]) {
      const inputs = [x, cos, sin];
      requireOneDType("rope", inputs, FLOATS);
      requireRank("rope", "x", x, 3);
      requireRank("rope", "cos", cos, 2);
      const pairs = cos.shape.at(-1) ?? 0;
      const turned = [...x.shape.slice(0, -1), pairs];
      const fits =
        sameShape(cos.shape, sin.shape) &&
        cos.shape.at(-2) === x.shape.at(-3) &&
        2 * pairs <= (x.shape.at(-1) ?? 0) &&
        sameShape(broadcastShapes(raised(cos.shape), turned, "rope"), turned);
      if (!fits)
        throw shapeError("rope", "x must be […, T, heads, D], tables […, T, P ≤ D/2]", inputs);
      return x;
    },
    gradient({ inputs: [x, cos, sin], gradients: [gradient], attributes, needs }) {
      if (!gradient) return [];
      if (needs[1] || needs[2]) {
        const forward = (...[a, b, c]: readonly (Tensor | undefined)[]): Tensor[] => [
          turn(a as Tensor, b as Tensor, c as Tensor, attributes),
        ];
        return pullBack([x, cos, sin], forward, [gradient]);
      }
      return [rope(gradient, cos, sin, { ...attributes, inverse: !attributes.inverse })];
    },
    decompose: ([x, cos, sin], attributes) => turn(x, cos, sin, attributes),
  });

/** Cosines and sines of the angles of positions, for {@link rope}. */
export interface RotaryTable {
  /** `[T, P]`. */
  readonly cos: Tensor;
  /** `[T, P]`. */
  readonly sin: Tensor;
}

/** Radians per position of each pair: `theta^(−2i/width)` for i from 0 to `width/2 − 1`. */
export function rotaryFrequencies(width: number, theta: number): number[] {
  requireWhole("rope", "width", width / 2, 0);
  return Array.from({ length: width / 2 }, (_, pair) => theta ** ((-2 * pair) / width));
}

/**
 * Tables for {@link rope}, computed on the host in double precision. Scaled variants (linear, YaRN,
 * Llama 3) change `frequencies` and, YaRN, multiply both tables by `scale`.
 */
export function rotaryTable(
  backend: Backend,
  options: {
    /** Position of each of the T tokens. */
    readonly positions: ArrayLike<number>;
    readonly frequencies: readonly number[];
    readonly scale?: number | undefined;
    readonly dtype?: FloatDType | undefined;
  },
): RotaryTable {
  const { positions, frequencies, scale = 1, dtype = "f32" } = options;
  const pairs = frequencies.length;
  const table = (of: (angle: number) => number): Tensor => {
    const values = new Float64Array(positions.length * pairs);
    for (let at = 0; at < values.length; at++) {
      const position = positions[Math.floor(at / pairs)] ?? 0;
      values[at] = of(position * (frequencies[at % pairs] ?? 0)) * scale;
    }
    return backend.tensor(values, { shape: [positions.length, pairs], dtype });
  };
  return { cos: table(Math.cos), sin: table(Math.sin) };
}

function turn(
  x: Tensor,
  cosTable: Tensor,
  sinTable: Tensor,
  { interleaved, inverse }: RopeAttributes,
): Tensor {
  const pairs = cosTable.shape.at(-1) ?? 0;
  const cos = cosTable.reshape(raised(cosTable.shape));
  const sines = sinTable.reshape(raised(sinTable.shape));
  const sin = inverse ? neg(sines) : sines;
  const width = x.shape.at(-1) ?? 0;
  const columns = (of: Tensor, start: number, count: number): Tensor =>
    slice(of, { starts: of.shape.map(() => 0).with(-1, start), sizes: of.shape.with(-1, count) });
  const half = [...x.shape.slice(0, -1), pairs];
  const turnable = width === 2 * pairs ? x : columns(x, 0, 2 * pairs);
  const rest = width === 2 * pairs ? [] : [columns(x, 2 * pairs, width - 2 * pairs)];
  const paired = interleaved ? turnable.reshape([...half, 2]) : turnable;
  const take = (side: 0 | 1): Tensor =>
    interleaved ? columns(paired, side, 1).reshape(half) : columns(paired, side * pairs, pairs);
  const [a, b] = [take(0), take(1)];
  const turned = [sub(mul(a, cos), mul(b, sin)), add(mul(b, cos), mul(a, sin))];
  if (!interleaved) return concat(...turned, ...rest, { axis: x.rank - 1 });
  const woven = concat(...turned.map((side) => side.reshape([...half, 1])), { axis: x.rank });
  return concat(woven.reshape(turnable.shape), ...rest, { axis: x.rank - 1 });
}

/** A table's shape with an axis for the heads. */
function raised(shape: readonly number[]): number[] {
  return shape.toSpliced(-1, 0, 1);
}
