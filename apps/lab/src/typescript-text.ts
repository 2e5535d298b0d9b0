import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { ConfigError } from "@moiety/core";
import type { RawDomain } from "./domain.ts";

const messagesFile = "diagnosticMessages.generated.json";
const codeCharacters = 600_000;

const languages: Readonly<Record<string, string>> = {
  cs: "Czech",
  de: "German",
  es: "Spanish",
  fr: "French",
  it: "Italian",
  ja: "Japanese",
  ko: "Korean",
  pl: "Polish",
  "pt-br": "Portuguese (Brazil)",
  ru: "Russian",
  tr: "Turkish",
  "zh-cn": "Chinese (simplified)",
  "zh-tw": "Chinese (traditional)",
};

/** Real text that is on every machine after the install. */
export interface InstalledText {
  readonly domains: readonly RawDomain[];
  readonly source: string;
}

/**
 * Reads the text of the installed TypeScript: its compiler messages, one domain for each language
 * in alphabetical order (the values joined by newlines, UTF-8), and as the last domain the first
 * 600 000 characters of its `lib.*.d.ts` in alphabetical order.
 *
 * @throws ConfigError where TypeScript or its messages are missing.
 */
export function typescriptText(): InstalledText {
  const manifest = resolveManifest();
  const library = join(dirname(manifest), "lib");
  const entries = readdirSync(library).sort();
  const locales = entries.filter((entry) => existsSync(join(library, entry, messagesFile)));
  if (locales.length === 0) throw missing(`${library} holds no ${messagesFile}`);
  const messages = locales.map((locale): RawDomain => {
    const values = messageValues(join(library, locale, messagesFile));
    const bytes = new TextEncoder().encode(values.join("\n"));
    return { name: locale, title: languages[locale] ?? locale, bytes };
  });
  const code = new TextEncoder().encode(declarations(library, entries));
  return {
    domains: [...messages, { name: "code", title: "lib.*.d.ts", bytes: code }],
    source: `typescript ${version(manifest)}: compiler messages and declarations`,
  };
}

function resolveManifest(): string {
  try {
    return createRequire(import.meta.url).resolve("typescript/package.json");
  } catch (cause) {
    throw missing("the package typescript is not installed", cause);
  }
}

function messageValues(file: string): readonly string[] {
  const messages: unknown = JSON.parse(readFileSync(file, "utf8"));
  if (typeof messages !== "object" || messages === null) throw missing(`${file} is no object`);
  return Object.values(messages).map(String);
}

function declarations(library: string, entries: readonly string[]): string {
  let text = "";
  for (const entry of entries) {
    if (!/^lib\..*\.d\.ts$/.test(entry)) continue;
    text += readFileSync(join(library, entry), "utf8");
    // Twice as many UTF-16 units are certainly enough characters.
    if (text.length >= 2 * codeCharacters) break;
  }
  return Array.from(text.slice(0, 2 * codeCharacters))
    .slice(0, codeCharacters)
    .join("");
}

function version(manifest: string): string {
  const content: unknown = JSON.parse(readFileSync(manifest, "utf8"));
  return typeof content === "object" && content !== null && "version" in content
    ? String(content.version)
    : "of unknown version";
}

function missing(what: string, cause?: unknown): ConfigError {
  return new ConfigError(
    `the default text comes from the package typescript, but ${what}: ` +
      "install again, or give your own text with --text FILE",
    "text",
    null,
    { cause },
  );
}
