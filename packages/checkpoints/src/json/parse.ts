import { FormatError } from "@moiety/core";
import { isWellFormed } from "../text.ts";
import type { JsonEntry, JsonNode } from "./node.ts";

/** How to read JSON. */
export interface ParseOptions {
  /** What errors call the file. */
  readonly name: string;
  /** Byte offset of the text in its file; errors count from the file's start. */
  readonly base?: number | undefined;
  /** Whether `NaN`, `Infinity` and `-Infinity` are numbers, as Python writes and reads them. */
  readonly nonFinite?: boolean | undefined;
}

/** Deeper nesting than this is refused, so that no file can exhaust the stack. */
const DEEPEST = 128;
/** Fewer keys than this are compared one by one: a set costs more. */
const FEW_KEYS = 8;
/** Longer numbers than this are refused: turning digits into an integer takes quadratic time. */
const LONGEST_NUMBER = 1000;
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};

/**
 * Reads one JSON value that takes up all of `bytes` (RFC 8259, UTF-8). Unlike `JSON.parse` it
 * refuses duplicate keys, keeps the text of numbers, and names the byte where something is wrong.
 *
 * Throws {@link FormatError}.
 */
export function parseJson(bytes: Uint8Array, options: ParseOptions): JsonNode {
  return new Parser(bytes, options).parse();
}

/**
 * Reads one JSON object that takes up all of `bytes`, as {@link parseJson} does, and hands over its
 * entries one after another, so that nobody has to hold more than one.
 *
 * Throws {@link FormatError}, also after some entries were handed over.
 */
export function parseJsonEntries(
  bytes: Uint8Array,
  options: ParseOptions,
  take: (entry: JsonEntry) => void,
): void {
  new Parser(bytes, options).parseEntries(take);
}

class Parser {
  readonly #bytes: Uint8Array;
  /** All of it, where every byte is one character: parts of it are had without decoding them. */
  readonly #whole: string | undefined;
  readonly #options: ParseOptions;
  readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  #position = 0;

  constructor(bytes: Uint8Array, options: ParseOptions) {
    this.#bytes = bytes;
    const whole = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
    if (whole.length === bytes.length) this.#whole = whole;
    this.#options = options;
  }

  parse(): JsonNode {
    const node = this.#value(0);
    this.#end();
    return node;
  }

  parseEntries(take: (entry: JsonEntry) => void): void {
    this.#entries(0, take);
    this.#end();
  }

  #end(): void {
    this.#skipSpace();
    if (this.#position < this.#bytes.length) this.#fail("more follows after the end of the JSON");
  }

  #fail(what: string, position = this.#position): never {
    const offset = (this.#options.base ?? 0) + position;
    throw new FormatError(
      `${this.#options.name}: not valid JSON at byte ${offset}: ${what}; ` +
        "the file is damaged or of another kind, get it again",
      offset,
    );
  }

  #skipSpace(): void {
    for (;;) {
      const byte = this.#bytes[this.#position];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return;
      this.#position++;
    }
  }

  #expect(character: string): void {
    this.#skipSpace();
    if (this.#bytes[this.#position] !== character.charCodeAt(0)) {
      this.#fail(`expected ${character}, found ${this.#found()}`);
    }
    this.#position++;
  }

  #takes(character: string): boolean {
    this.#skipSpace();
    if (this.#bytes[this.#position] !== character.charCodeAt(0)) return false;
    this.#position++;
    return true;
  }

  #found(): string {
    const byte = this.#bytes[this.#position];
    if (byte === undefined) return "the end";
    return byte > 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `byte 0x${byte.toString(16)}`;
  }

  #value(depth: number): JsonNode {
    this.#skipSpace();
    if (depth > DEEPEST) this.#fail(`nested deeper than ${DEEPEST} levels`);
    const start = this.#position;
    const offset = (this.#options.base ?? 0) + start;
    switch (this.#bytes[start]) {
      case 0x7b: {
        const entries: JsonEntry[] = [];
        this.#entries(depth, (entry) => entries.push(entry));
        return { kind: "object", offset, entries };
      }
      case 0x5b:
        return { kind: "array", offset, items: this.#items(depth) };
      case 0x22:
        return { kind: "string", offset, value: this.#string() };
    }
    const word = this.#word();
    if (NUMBER.test(word)) return { kind: "number", offset, text: word };
    if (word === "true" || word === "false") {
      return { kind: "literal", offset, value: word === "true" };
    }
    if (word === "null") return { kind: "literal", offset, value: null };
    const nonFinite = word === "NaN" || word === "Infinity" || word === "-Infinity";
    if (nonFinite && this.#options.nonFinite === true)
      return { kind: "number", offset, text: word };
    this.#position = start;
    return this.#fail(`expected a value, found ${word === "" ? this.#found() : word}`);
  }

  /** A run of the characters that numbers and literals are made of. */
  #word(): string {
    const start = this.#position;
    let end = start;
    while (isWordByte(this.#bytes[end])) end++;
    if (end - start > LONGEST_NUMBER) {
      this.#fail(`a number or word longer than ${LONGEST_NUMBER} characters`, start);
    }
    this.#position = end;
    return this.#ascii(start, end);
  }

  #entries(depth: number, take: (entry: JsonEntry) => void): void {
    this.#expect("{");
    if (this.#takes("}")) return;
    const keys: string[] = [];
    let seen: Set<string> | undefined;
    do {
      this.#skipSpace();
      const start = this.#position;
      if (this.#bytes[start] !== 0x22) this.#fail(`expected a key, found ${this.#found()}`);
      const key = this.#string();
      if (seen?.has(key) ?? keys.includes(key)) {
        this.#fail(`the key ${JSON.stringify(key)} stands twice`, start);
      }
      if (seen) seen.add(key);
      else if (keys.push(key) > FEW_KEYS) seen = new Set(keys);
      this.#expect(":");
      const offset = (this.#options.base ?? 0) + start;
      take({ key, offset, value: this.#value(depth + 1) });
    } while (this.#takes(","));
    this.#expect("}");
  }

  #items(depth: number): JsonNode[] {
    this.#expect("[");
    const items: JsonNode[] = [];
    if (this.#takes("]")) return items;
    do items.push(this.#value(depth + 1));
    while (this.#takes(","));
    this.#expect("]");
    return items;
  }

  #string(): string {
    const start = this.#position;
    let escaped = false;
    let bits = 0;
    for (let end = start + 1; ; end++) {
      const byte = this.#bytes[end];
      if (byte === undefined) this.#fail("a string without an end", start);
      if (byte < 0x20) this.#fail("a control character inside a string", end);
      bits |= byte;
      if (byte === 0x5c) {
        escaped = true;
        end++;
      } else if (byte === 0x22) {
        this.#position = end + 1;
        const isAscii = bits < 0x80 && !escaped;
        const text = isAscii ? this.#ascii(start + 1, end) : this.#decode(start + 1, end);
        return escaped ? this.#unescape(text, start) : text;
      }
    }
  }

  #ascii(start: number, end: number): string {
    return this.#whole?.slice(start, end) ?? this.#decode(start, end);
  }

  #decode(start: number, end: number): string {
    try {
      return this.#decoder.decode(this.#bytes.subarray(start, end));
    } catch {
      return this.#fail("a string that is not UTF-8", start - 1);
    }
  }

  #unescape(text: string, start: number): string {
    const plain = text.replace(/\\(u[0-9a-fA-F]{4}|[\s\S])/g, (_, escape: string) => {
      if (escape.length === 5) return String.fromCharCode(Number.parseInt(escape.slice(1), 16));
      return ESCAPES[escape] ?? this.#fail(`the unknown escape \\${escape} in a string`, start);
    });
    if (!isWellFormed(plain)) this.#fail("half a surrogate pair in a string", start);
    return plain;
  }
}

/** Whether a byte is a letter, a digit, or one of the signs in numbers. */
function isWordByte(byte: number | undefined = 0): boolean {
  if (byte >= 0x30 && byte <= 0x39) return true;
  const letter = byte | 0x20;
  return (letter >= 0x61 && letter <= 0x7a) || byte === 0x2b || byte === 0x2d || byte === 0x2e;
}
