import { unary } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { erf } from "./erf.ts";
import { create } from "./index.ts";

const SCALE = 10n ** 60n;

/** erf by its Taylor series, 2/√π · Σ (−1)ⁿ x²ⁿ⁺¹ / (n! (2n+1)), with 60 decimal places. */
function series(x: number): number {
  const fixed = toFixedPoint(x);
  const square = (fixed * fixed) / SCALE;
  let power = fixed;
  let sum = fixed;
  for (let n = 1n; power !== 0n; n++) {
    power = (-power * square) / SCALE / n;
    sum += power / (2n * n + 1n);
  }
  const twoBySqrtPi = 1128379167095512573896158903121545171688101258657997713688171n;
  return Number((sum * twoBySqrtPi) / SCALE) / Number(SCALE);
}

/** The exact value of a float64 in fixed point, as far as 60 decimal places reach. */
function toFixedPoint(x: number): bigint {
  let value = x;
  let halvings = 0n;
  while (!Number.isInteger(value)) {
    value *= 2;
    halvings++;
  }
  return (BigInt(value) * SCALE) / 2n ** halvings;
}

describe("erf", () => {
  it("agrees with its series", () => {
    for (let step = -640; step <= 640; step++) {
      const x = step / 100 + step * 1e-7;
      const exact = series(x);
      expect(Math.abs(erf(x) - exact)).toBeLessThanOrEqual(3e-16 * Math.abs(exact));
    }
  });

  it("is accurate near zero and flat far out", () => {
    for (const x of [1e-300, 1e-20, 1e-9, 1e-8, 3.7e-9, 1e-5]) {
      const exact = x < 1e-6 ? x * 1.1283791670955126 : series(x);
      expect(Math.abs(erf(x) - exact)).toBeLessThanOrEqual(3e-16 * exact);
    }
    expect(erf(0)).toBe(0);
    expect([erf(6), erf(100), erf(Infinity), erf(-7)]).toEqual([1, 1, 1, -1]);
    expect(erf(NaN)).toBeNaN();
  });

  it("is what the op computes", async () => {
    const backend = await create();
    const x = Array.from({ length: 1500 }, (_, index) => (index - 750) / 100);
    const out = await unary(backend.tensor(x, { dtype: "f64" }), { kind: "erf" }).read();
    expect([...out]).toEqual(x.map(erf));
  });
});
