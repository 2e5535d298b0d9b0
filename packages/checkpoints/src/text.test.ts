import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compareCodePoints, isWellFormed, listSome } from "./text.ts";

describe("compareCodePoints", () => {
  it("orders as UTF-8 bytes do", () => {
    const text = fc.string({ unit: "binary" });
    fc.assert(
      fc.property(text, text, (a, b) => {
        const bytes = Buffer.compare(Buffer.from(a), Buffer.from(b));
        expect(Math.sign(compareCodePoints(a, b))).toBe(bytes);
      }),
      { seed: 1 },
    );
  });

  it("puts characters beyond U+FFFF last, unlike JavaScript", () => {
    expect(["\u{10000}", "\uffff", "a"].toSorted(compareCodePoints)).toEqual([
      "a",
      "\uffff",
      "\u{10000}",
    ]);
  });
});

describe("isWellFormed", () => {
  it("finds lone surrogates only", () => {
    expect(isWellFormed("a\u{1f600}é")).toBe(true);
    expect(isWellFormed("a\ud83d")).toBe(false);
    expect(isWellFormed("\ude00a")).toBe(false);
  });
});

describe("listSome", () => {
  it("counts what it leaves out", () => {
    expect(listSome(["a", "b"])).toBe("a, b");
    expect(listSome(["a", "b", "c"], 2)).toBe("a, b and 1 more");
  });
});
