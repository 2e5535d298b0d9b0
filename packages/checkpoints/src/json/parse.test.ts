import { FormatError } from "@moiety/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { JsonNode } from "./node.ts";
import { parseJson, parseJsonEntries } from "./parse.ts";

const parse = (text: string, base = 0): JsonNode =>
  parseJson(new TextEncoder().encode(text), { name: "file.json", base });

function plain(node: JsonNode): unknown {
  if (node.kind === "object") {
    return Object.fromEntries(node.entries.map(({ key, value }) => [key, plain(value)]));
  }
  if (node.kind === "array") return node.items.map(plain);
  return node.kind === "number" ? Number(node.text) : node.value;
}

function failureOf(work: () => unknown): FormatError {
  try {
    work();
  } catch (error) {
    if (error instanceof FormatError) return error;
    throw error;
  }
  return expect.fail("nothing was thrown");
}

describe("parseJson", () => {
  it("reads what JSON.parse reads", () => {
    fc.assert(
      fc.property(
        fc.json({ stringUnit: "binary" }),
        fc.constantFrom(undefined, 1),
        (text, indent) => {
          const spaced = JSON.stringify(JSON.parse(text), undefined, indent);
          expect(plain(parse(spaced))).toEqual(JSON.parse(text));
        },
      ),
      { seed: 2 },
    );
  });

  it("refuses what JSON.parse refuses, and never anything worse", () => {
    const characters = fc.constantFrom(...'{}[]",:\\u01e.-+tfn a\u00e9\u0007'.split(""));
    fc.assert(
      fc.property(fc.string({ unit: characters, maxLength: 12 }), (text) => {
        let expected: unknown;
        try {
          expected = JSON.parse(text);
        } catch {
          expect(failureOf(() => parse(text)).offset).toBeLessThanOrEqual(2 * text.length);
          return;
        }
        // JSON.parse takes duplicate keys and halves of surrogate pairs.
        try {
          expect(plain(parse(text))).toEqual(expected);
        } catch (error) {
          expect(String(error)).toMatch(/stands twice|half a surrogate/);
        }
      }),
      { seed: 3, numRuns: 2000 },
    );
  });

  it("keeps the text of numbers, and offsets in bytes", () => {
    const node = parse('{"é": [1.0, 1e5]}', 100);
    expect(node).toEqual({
      kind: "object",
      offset: 100,
      entries: [
        {
          key: "é",
          offset: 101,
          value: {
            kind: "array",
            offset: 107,
            items: [
              { kind: "number", offset: 108, text: "1.0" },
              { kind: "number", offset: 113, text: "1e5" },
            ],
          },
        },
      ],
    });
  });

  it.each([
    ["", 0, "found the end"],
    ["{", 1, "expected a key, found the end"],
    ['{"a":1,"a":2}', 7, 'the key "a" stands twice'],
    ['{"a":1,}', 7, "expected a key, found }"],
    ['{"a" 1}', 5, "expected :, found 1"],
    ["[1 2]", 3, "expected ], found 2"],
    ["[1],", 3, "more follows"],
    ["[01]", 1, "found 01"],
    ["[+1]", 1, "found +1"],
    ["[NaN]", 1, "found NaN"],
    ["[truth]", 1, "found truth"],
    ['["a]', 1, "without an end"],
    ['["a\n"]', 3, "control character"],
    ['["\\x"]', 1, "unknown escape \\x"],
    ['["\\u12g4"]', 1, "unknown escape \\u"],
    ['["\\ud800"]', 1, "half a surrogate pair"],
    ["[\u0001]", 1, "found byte 0x1"],
  ])("names byte and reason for %j", (text, offset, reason) => {
    const failure = failureOf(() => parse(text));
    expect(failure.message).toContain(reason);
    expect(failure.message).toContain(`file.json: not valid JSON at byte ${offset}`);
    expect(failure.offset).toBe(offset);
  });

  it("refuses what would exhaust the stack or the clock", () => {
    const deep = failureOf(() => parse("[".repeat(1_000_000)));
    expect(deep.message).toContain("nested deeper than 128");
    expect(deep.offset).toBe(129);
    const long = failureOf(() => parse(`[${"1".repeat(1_000_000)}]`));
    expect(long.message).toContain("longer than 1000 characters");
    expect(long.offset).toBe(1);
  });

  it("refuses bytes that are not UTF-8, and a byte order mark", () => {
    const bytes = Uint8Array.from([0x5b, 0x22, 0xff, 0x22, 0x5d]);
    const failure = failureOf(() => parseJson(bytes, { name: "file.json" }));
    expect(failure.message).toContain("not UTF-8");
    expect(failure.offset).toBe(1);
    expect(failureOf(() => parse("\ufeff[]")).offset).toBe(0);
  });

  it.each([3, 8, 9, 10, 200])("finds a key that stands twice among %i", (count) => {
    const keys = Array.from({ length: count }, (_, index) => `"key ${index}":${index}`);
    const node = parse(`{${keys.join(",")}}`);
    expect(Object.keys(plain(node) as object)).toHaveLength(count);
    for (const again of [0, count - 1]) {
      const text = `{${keys.join(",")},"key ${again}":0}`;
      const failure = failureOf(() => parse(text));
      expect(failure.message).toContain(`the key "key ${again}" stands twice`);
      expect(failure.offset).toBe(text.lastIndexOf(`"key ${again}"`));
    }
  });

  it("reads ASCII beside other text, and where other bytes are only damaged", () => {
    expect(plain(parse('{"a":["\u00e9\ud83d\ude00","plain",12.5,true]}'))).toEqual({
      a: ["\u00e9\ud83d\ude00", "plain", 12.5, true],
    });
    const bytes = Uint8Array.from([0x5b, 0x22, 0x61, 0x22, 0x2c, 0xff, 0x5d]);
    const failure = failureOf(() => parseJson(bytes, { name: "file.json" }));
    expect(failure.message).toContain("found byte 0xff");
    expect(failure.offset).toBe(5);
  });

  it("hands over the entries of an object one after another", () => {
    const bytes = new TextEncoder().encode(' {"a": 1, "b": {"c": []}} ');
    const found: unknown[] = [];
    parseJsonEntries(bytes, { name: "file.json", base: 100 }, ({ key, offset, value }) =>
      found.push([key, offset, plain(value)]),
    );
    expect(found).toEqual([
      ["a", 102, 1],
      ["b", 110, { c: [] }],
    ]);
    for (const text of ["[1]", '{"a":1', '{"a":1}}', '{"a":1,"a":2}', ""]) {
      const part = new TextEncoder().encode(text);
      failureOf(() => parseJsonEntries(part, { name: "file.json" }, () => undefined));
    }
  });

  it("takes NaN and the infinities where it is told to", () => {
    const bytes = new TextEncoder().encode("[NaN, Infinity, -Infinity]");
    const node = parseJson(bytes, { name: "file.json", nonFinite: true });
    expect(plain(node)).toEqual([Number.NaN, Infinity, -Infinity]);
  });
});
