import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type FileFolder, type JsonObject, filesFolder } from "@moiety/checkpoints";
import { diskFolder } from "@moiety/checkpoints/node";
import { ConfigError, FormatError, UnsupportedError } from "@moiety/core";
import { describe, expect, it } from "vitest";
import type { ChatMessage, TextCodec } from "./codec.ts";
import { readTextCodec } from "./read-codec.ts";

const testdata = join(import.meta.dirname, "testdata");
const config: JsonObject = { vocab_size: 320 };

interface Recorded {
  readonly texts: readonly { readonly text: string; readonly ids: number[]; decoded: string }[];
  readonly chats: readonly { readonly messages: ChatMessage[]; readonly ids: number[] }[];
}

const read = (file: string): Promise<string> => readFile(join(testdata, file), "utf8");
const recorded = JSON.parse(await read("recorded.json")) as Recorded;
const tokenizer = JSON.parse(await read("tokenizer.json")) as JsonObject & { model: JsonObject };

/** A folder in memory. */
function folderOf(files: Readonly<Record<string, unknown>>): FileFolder {
  const text = (content: unknown): string =>
    typeof content === "string" ? content : JSON.stringify(content);
  return filesFolder(
    Object.entries(files).map(([name, content]) => new File([text(content)], name)),
    "folder",
  );
}

/** What a stream gives for each token, and at the end. */
function streamed(codec: TextCodec, ids: readonly number[], prompt?: readonly number[]): string[] {
  const stream = codec.stream(prompt);
  return [...ids.map((id) => stream.push(id)), stream.end()];
}

describe("a folder with a tokenizer", async () => {
  const codec = await readTextCodec(diskFolder(testdata), config);

  it.each(recorded.texts)("encodes and decodes $text as recorded", ({ text, ids, decoded }) => {
    expect(codec.source).toBe("tokenizer.json");
    expect(codec.encode(text)).toEqual(ids);
    expect(codec.decode(ids)).toBe(decoded);
  });

  it.each(recorded.texts)("streams $text", ({ ids, decoded }) => {
    const parts = streamed(codec, ids);
    expect(parts.join("")).toBe(decoded);
    expect(parts.join("|")).not.toContain("\uFFFD");
  });

  it("holds the bytes of a character back until it is whole", () => {
    const ids = codec.encode("世a").slice(1);
    expect(ids).toHaveLength(4);
    expect(streamed(codec, ids)).toEqual(["", "", "世", "a", ""]);
    expect(streamed(codec, ids.slice(0, 2))).toEqual(["", "", "\uFFFD"]);
  });

  it("does not wait for ever for bytes that are no character", () => {
    const [first = 0] = codec.encode("世").slice(1);
    const parts = streamed(
      codec,
      Array.from({ length: 30 }, () => first),
    );
    expect(parts.join("")).toBe("\uFFFD".repeat(30));
    expect(parts.filter((part) => part !== "").length).toBeGreaterThan(3);
  });

  it("writes conversations by the template, as recorded", () => {
    for (const { messages, ids } of recorded.chats) expect(codec.chat(messages)).toEqual(ids);
    const strange = [{ role: "parrot", content: "x" }];
    expect(() => codec.chat(strange)).toThrow(ConfigError);
    expect(() => codec.chat(strange)).toThrow(/chat_template\.jinja: .*there is no role parrot/);
  });

  it("takes the template of tokenizer_config.json, of several the default", async () => {
    const template = "{{ bos_token }}{{ messages[0].content }}";
    const bos_token = "<|begin|>";
    const several = [
      { name: "tools", template: "no" },
      { name: "default", template },
    ];
    for (const chat_template of [template, several]) {
      const files = {
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": { chat_template, bos_token },
      };
      // oxlint-disable-next-line no-await-in-loop -- two small cases
      const { chat } = await readTextCodec(folderOf(files), config);
      expect(chat([{ role: "user", content: "it" }])).toEqual([1, 272]);
    }
    const bare = await readTextCodec(folderOf({ "tokenizer.json": tokenizer }), config);
    expect(bare.chat([])).toBeUndefined();
  });

  it("leaves out tokens that only pad the model's vocabulary", () => {
    const ids = codec.encode("the end");
    expect(codec.decode([310, ...ids, 319])).toBe("the end");
    expect(codec.decode([])).toBe("");
    expect(codec.decode([310])).toBe("");
  });

  it("names its stops: of the generation, the configuration, the tokenizer", async () => {
    const files = {
      "tokenizer.json": tokenizer,
      "tokenizer_config.json": { eos_token: { content: "<|end|>" } },
    };
    const stops = async (
      more: Readonly<Record<string, unknown>>,
      values: JsonObject,
    ): Promise<readonly number[]> =>
      (await readTextCodec(folderOf({ ...files, ...more }), { ...config, ...values })).stop;
    const generation = { "generation_config.json": { eos_token_id: [7, 9, 5000] } };
    expect(await stops(generation, { eos_token_id: 3 })).toEqual([7, 9]);
    expect(await stops({}, { eos_token_id: 3 })).toEqual([3]);
    expect(await stops({}, { text_config: { eos_token_id: 4 } })).toEqual([4]);
    expect(await stops({}, {})).toEqual([2]);
    expect(codec.stop).toEqual([2]);
  });
});

/** A tokenizer as SentencePiece makes them: `▁` for spaces, bytes for what has no token. */
function spacedTokenizer(): JsonObject {
  const bytes = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
  );
  const pieces = ["<unk>", ...bytes, "▁", "a", "b", "▁a", "▁b"];
  return {
    model: {
      type: "BPE",
      unk_token: "<unk>",
      byte_fallback: true,
      fuse_unk: true,
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
      merges: ["▁ a", "▁ b"],
    },
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "▁" },
        { type: "Replace", pattern: { String: " " }, content: "▁" },
      ],
    },
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
  };
}

describe("a tokenizer that sets a space before words", async () => {
  const codec = await readTextCodec(folderOf({ "tokenizer.json": spacedTokenizer() }), config);

  it.each(["a b a", "aé b", "🙂 a"])("decodes and streams %j", (text) => {
    const ids = codec.encode(text);
    expect(codec.decode(ids)).toBe(text);
    expect(streamed(codec, ids).join("")).toBe(text);
  });

  it("keeps the space between the prompt and what follows", () => {
    const [prompt, more] = [codec.encode("a"), codec.encode("b a")];
    expect(streamed(codec, more, prompt).join("")).toBe(" b a");
    expect(streamed(codec, more).join("")).toBe("b a");
  });
});

describe("a folder without a tokenizer", () => {
  it("speaks bytes where there are 256 tokens", async () => {
    const codec = await readTextCodec(folderOf({}), { vocab_size: 256, eos_token_id: 0 });
    const text = "\uFEFFnaïve 世界 🙂";
    const ids = codec.encode(text);
    expect(ids).toEqual([...new TextEncoder().encode(text)]);
    expect(codec.decode(ids)).toBe(text);
    expect(streamed(codec, ids).join("")).toBe(text);
    expect(streamed(codec, codec.encode("é!"))).toEqual(["", "é", "!", ""]);
    expect(codec.source).toBe("bytes");
    expect(codec.stop).toEqual([0]);
    expect(codec.chat([])).toBeUndefined();
  });

  it("asks for token ids where there are others", async () => {
    const bad = readTextCodec(folderOf({}), { vocab_size: 64 });
    await expect(bad).rejects.toThrow(ConfigError);
    await expect(bad).rejects.toThrow(/folder has no tokenizer\.json, and its 64 .*token ids/);
  });
});

describe("bad files are named", () => {
  const { model } = tokenizer;
  it.each<[string, new (...given: never[]) => Error, Readonly<Record<string, unknown>>, RegExp]>([
    ["JSON", FormatError, { "tokenizer.json": "{" }, /^tokenizer\.json/],
    ["a list", FormatError, { "tokenizer.json": "[]" }, /^tokenizer\.json: holds an array/],
    ["no model", FormatError, { "tokenizer.json": {} }, /^tokenizer\.json: it is no tokenizer/],
    [
      "a model of an unknown kind",
      UnsupportedError,
      { "tokenizer.json": { model: { type: "Magic" } } },
      /^tokenizer\.json: it is no tokenizer/,
    ],
    [
      "an unknown decoder",
      UnsupportedError,
      { "tokenizer.json": { model, decoder: { type: "Magic" } } },
      /^tokenizer\.json: .*Unknown Decoder type: Magic/,
    ],
    [
      "a generation_config.json",
      FormatError,
      { "tokenizer.json": tokenizer, "generation_config.json": "nothing" },
      /^generation_config\.json/,
    ],
    [
      "a tokenizer_config.json",
      FormatError,
      { "tokenizer.json": tokenizer, "tokenizer_config.json": '{"a": }' },
      /^tokenizer_config\.json/,
    ],
    [
      "a template",
      FormatError,
      { "tokenizer.json": tokenizer, "chat_template.jinja": "{% if %}" },
      /^chat_template\.jinja: the chat template is no template/,
    ],
  ])("%s", async (_, error, files, message) => {
    const reading = readTextCodec(folderOf(files), config);
    await expect(reading).rejects.toThrow(error);
    await expect(reading).rejects.toThrow(message);
  });

  it("text that has no token", async () => {
    const words = { type: "WordPiece", vocab: { a: 0 }, continuing_subword_prefix: "##" };
    const codec = await readTextCodec(folderOf({ "tokenizer.json": { model: words } }), config);
    expect(codec.encode("a")).toEqual([0]);
    expect(() => codec.encode("b")).toThrow(ConfigError);
  });
});
