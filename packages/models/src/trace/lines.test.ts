import { FormatError, NumericError } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { parseTrace, traceLine } from "./lines.ts";
import type { RoutedToken } from "./routed-token.ts";

const records: RoutedToken[] = [
  {
    sequence: 0,
    position: 4,
    token: 17,
    layers: [
      { layer: 0, experts: [3, 1], weights: [0.7, 1 / 3] },
      { layer: 2, experts: [], weights: [], dropped: 2 },
    ],
  },
  { sequence: 1, position: 0, token: 0, layers: [] },
];

describe("a trace", () => {
  it("is written line by line as documented, and read back the same", () => {
    const text = records.map((record) => `${traceLine(record)}\n`).join("");
    expect(text.split("\n")[1]).toBe('{"sequence":1,"position":0,"token":0,"layers":[]}');
    expect(text).toMatch(/"layers":\[{"layer":0,"experts":\[3,1],"weights":\[0.7,/);
    expect(parseTrace(text)).toEqual(records);
    expect(parseTrace(text.replaceAll("\n", "\r\n\n"))).toEqual(records);
    expect(parseTrace("")).toEqual([]);
  });

  it("has no room for weights that are not finite", () => {
    const layers = [{ layer: 1, experts: [0], weights: [Number.NaN] }];
    expect(() => traceLine({ sequence: 0, position: 3, token: 1, layers })).toThrow(NumericError);
  });

  const line = (change: object): string => JSON.stringify({ ...records[1], ...change });
  const layer = (change: object): string =>
    line({ layers: [{ layer: 0, experts: [1], weights: [1], ...change }] });

  it.each<[string, string, RegExp]>([
    ["cut", '{"sequence":0,', /no JSON/],
    ["no object", "[1]", /must be an object/],
    ["null", "null", /must be an object/],
    ["a key too many", line({ ä: 1 }), /has ä, but may have sequence/],
    ["a key missing", '{"sequence":0}', /layers must be a list/],
    ["a negative position", line({ position: -1 }), /position is -1/],
    ["a token of text", line({ token: "a" }), /token is "a"/],
    ["no layers", line({ layers: {} }), /layers must be a list/],
    ["a layer of another kind", line({ layers: [3] }), /layers\[0\]: it must be an object/],
    ["a layer without number", layer({ layer: null }), /layers\[0\]: layer is null/],
    ["half an expert", layer({ experts: [0.5] }), /experts must be a list of whole numbers/],
    ["weights that are none", layer({ weights: ["1"] }), /weights must be a list of numbers/],
    ["weights of too few", layer({ weights: [] }), /1 experts, but 0 weights/],
    ["dropped of another kind", layer({ dropped: true }), /dropped is true/],
    ["another key in a layer", layer({ score: 1 }), /it has score/],
  ])("with %s is refused by its line", (_, bad, why) => {
    const good = traceLine(records[0] as RoutedToken);
    const parse = (): unknown => parseTrace(`${good}\n\n${bad}\n`);
    expect(parse).toThrow(FormatError);
    expect(parse).toThrow(/line 3 of the trace/);
    expect(parse).toThrow(why);
    expect(parse).toThrow(expect.objectContaining({ offset: good.length + 2 }) as Error);
  });

  it("counts bytes, not characters, up to the line", () => {
    const bad = '{"sequence":"äß€😀"}\nx';
    const parse = (text: string): unknown => parseTrace(text);
    expect(() => parse(bad)).toThrow(/line 1/);
    const skipped = "\u00A0\u2003\n{";
    expect(() => parse(skipped)).toThrow(expect.objectContaining({ offset: 6 }) as Error);
  });
});
