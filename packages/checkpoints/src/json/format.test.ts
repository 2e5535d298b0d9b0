import { ConfigError, FormatError } from "@moiety/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type JsonObject, type JsonValue, jsonDocument, parseJsonDocument } from "./document.ts";
import { formatJsonDocument } from "./format.ts";

const parse = (text: string): ReturnType<typeof parseJsonDocument> =>
  parseJsonDocument(new TextEncoder().encode(text), "config.json");

// As Python's json.dumps(…, indent=2, sort_keys=True) writes it.
const CONFIG = `{
  "_from": true,
  "architectures": [
    "OlmoeForCausalLM"
  ],
  "big": 12345678901234567890123,
  "clip_qkv": null,
  "empty": {},
  "id2label": {
    "2": "b",
    "10": "a"
  },
  "layers": [],
  "limits": [
    0.0,
    Infinity
  ],
  "name": "caf\\u00e9 \\ud83d\\ude00\\u007f\\n\\"",
  "rms_norm_eps": 1e-05,
  "rope_scaling": {
    "factor": 32.0,
    "kind": "yarn"
  },
  "rope_theta": 10000.0,
  "vocab_size": 64
}
`;

describe("JSON documents", () => {
  it("are written as they were read, to the byte", () => {
    expect(formatJsonDocument(parse(CONFIG))).toBe(CONFIG);
  });

  it("give plain values", () => {
    const { value, floats } = parse(CONFIG);
    expect(value).toMatchObject({
      vocab_size: 64,
      rms_norm_eps: 1e-5,
      rope_scaling: { factor: 32, kind: "yarn" },
      name: 'caf\u00e9 \u{1f600}\u007f\n"',
      big: 12345678901234567890123n,
    });
    expect([...floats]).toEqual([
      "limits/0",
      "limits/1",
      "rms_norm_eps",
      "rope_scaling/factor",
      "rope_theta",
    ]);
  });

  it("write marked whole numbers as floats, and others as they are", () => {
    const floats = ["theta", "list/1", "nested/a~1b", "not/there", "none"];
    const document = jsonDocument(
      { theta: 10000, count: 3, half: 0.5, none: null, list: [1, 2], nested: { "a/b": 1 } },
      floats,
    );
    expect(JSON.stringify(formatJsonDocument(document))).toBe(
      JSON.stringify(
        '{\n  "count": 3,\n  "half": 0.5,\n  "list": [\n    1,\n    2.0\n  ],\n  "nested": {\n' +
          '    "a/b": 1.0\n  },\n  "none": null,\n  "theta": 10000.0\n}\n',
      ),
    );
  });

  it("come back from their text with the same values and floats", () => {
    const leaf = fc.oneof(
      fc.string({ unit: "grapheme" }),
      fc.boolean(),
      fc.constant(null),
      fc.integer(),
      fc.double({ noNaN: true }).filter((value) => !Number.isSafeInteger(value)),
      fc.bigInt({ min: 2n ** 53n, max: 2n ** 90n }),
    );
    const key = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.constantFrom("__proto__", "a/b", "a~b", "1", "toString"),
    );
    const { tree } = fc.letrec<{ tree: JsonValue }>((tie) => ({
      tree: fc.oneof(
        { maxDepth: 3 },
        leaf,
        fc.array(tie("tree"), { maxLength: 4 }),
        fc.dictionary(key, tie("tree"), { maxKeys: 4, noNullPrototype: true }),
      ),
    }));
    fc.assert(
      fc.property(fc.dictionary(key, tree, { noNullPrototype: true }), (value) => {
        const text = formatJsonDocument(jsonDocument(value as JsonObject));
        expect(text).toMatch(/^[\n -~]*$/);
        const again = parse(text);
        expect(again.value).toEqual(value);
        expect(formatJsonDocument(again)).toBe(text);
      }),
      { seed: 5 },
    );
  });

  it("must be objects", () => {
    expect(() => parse("[1]")).toThrow(FormatError);
    expect(() => parse("[1]")).toThrow("config.json: holds an array where an object belongs");
    expect(() => parse("null")).toThrow("holds null");
  });

  it("refuse values that JSON has no word for", () => {
    const value = { rope: { theta: undefined } } as unknown as JsonObject;
    expect(() => formatJsonDocument(jsonDocument(value))).toThrow(ConfigError);
    expect(() => formatJsonDocument(jsonDocument(value))).toThrow("rope/theta is undefined");
  });
});
