import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigError } from "@moiety/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fewestBytes } from "./domain.ts";
import { loadText } from "./text.ts";

let folder = "";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lab-text-"));
});

afterEach(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

describe("the default text", () => {
  const text = loadText(null, 128);

  it("is 13 languages in alphabetical order, then code", () => {
    expect(text.domains.map((domain) => domain.name)).toEqual([
      ..."cs de es fr it ja ko pl pt-br ru tr zh-cn zh-tw".split(" "),
      "code",
    ]);
    expect(text.source).toContain("typescript 6.0.3");
    expect(text.files).toBeNull();
  });

  it("is as long as it was measured: 2.42 MB of messages, 600 000 characters of code", () => {
    const lengths = text.domains.map(({ training, heldOut }) => training.length + heldOut.length);
    expect(lengths.slice(0, 13).reduce((sum, length) => sum + length, 0)).toBe(2_420_160);
    const code = text.domains.at(-1);
    const bytes = [...(code?.training ?? []), ...(code?.heldOut ?? [])];
    expect(Array.from(new TextDecoder().decode(new Uint8Array(bytes)))).toHaveLength(600_000);
  });

  it("holds the values, not the keys", () => {
    const german = text.domains[1];
    const words = new TextDecoder().decode(german?.training);
    expect(words.startsWith("ALLE COMPILEROPTIONEN\n")).toBe(true);
    expect(words).not.toContain("ALL_COMPILER_OPTIONS_6917");
  });

  it("holds out the last 5 % of each domain", () => {
    for (const { training, heldOut } of text.domains) {
      const total = training.length + heldOut.length;
      expect(training.length).toBe(Math.floor(total * 0.95));
    }
  });
});

describe("text of the user's own", () => {
  it("makes a domain of each file, byte by byte", () => {
    const bytes = Uint8Array.from({ length: 6000 }, (_, index) => index % 256);
    const text = loadText([file("a.bin", bytes), file("b.txt", "x".repeat(5140))], 128);
    expect(text.domains.map(({ name }) => name)).toEqual(["a.bin", "b.txt"]);
    expect(text.domains[0]?.training).toEqual(Buffer.from(bytes.subarray(0, 5700)));
    expect(text.domains[0]?.heldOut).toEqual(Buffer.from(bytes.subarray(5700)));
    expect(text.files).toEqual([join(folder, "a.bin"), join(folder, "b.txt")]);
  });

  it("tells files of the same name apart", () => {
    const path = file("a.txt", "x".repeat(9000));
    expect(loadText([path, path], 64).domains.map(({ name }) => name)).toEqual([
      "1:a.txt",
      "2:a.txt",
    ]);
  });

  it("has a digest of bytes and borders", () => {
    const one = loadText([file("a", "x".repeat(9000)), file("b", "y".repeat(9000))], 64);
    const other = loadText([file("c", "x".repeat(9001)), file("d", "y".repeat(8999))], 64);
    const again = loadText([join(folder, "a"), join(folder, "b")], 64);
    expect(again.digest).toBe(one.digest);
    expect(other.digest).not.toBe(one.digest);
  });

  it("takes a file of exactly the fewest bytes and refuses one less", () => {
    const fewest = fewestBytes(64);
    const text = loadText([file("enough", "x".repeat(fewest))], 64);
    expect(text.domains[0]?.heldOut.length).toBe(129);
    expect(() => loadText([file("short", "x".repeat(fewest - 1))], 64)).toThrow(
      /short holds 2579 bytes only: .* at least 2580 bytes/,
    );
  });

  it.each([
    ["missing", "missing.txt", /cannot read .*missing\.txt \(there is no such file\)/],
    ["a folder", ".", /\(it is a folder\)/],
    ["empty", "empty.txt", /empty\.txt is empty/],
  ])("refuses what is %s", (_, name, message) => {
    file("empty.txt", "");
    const load = (): unknown => loadText([join(folder, name)], 64);
    expect(load).toThrow(ConfigError);
    expect(load).toThrow(message);
  });
});
