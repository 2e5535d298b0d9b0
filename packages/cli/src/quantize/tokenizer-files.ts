import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { FileFolder } from "@moiety/checkpoints";

/** Files of a model folder that say what its tokens mean. */
const FILES = [
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "chat_template.jinja",
] as const;

/** Copies what a folder says of its tokens, wherever it lies. */
export async function copyTokenizer(from: FileFolder, to: string): Promise<void> {
  for (const name of FILES) {
    // oxlint-disable-next-line no-await-in-loop -- four small files
    const file = await from.open(name);
    if (file === undefined) continue;
    try {
      // oxlint-disable-next-line no-await-in-loop -- four small files
      await writeFile(join(to, name), await file.read(0, file.size));
    } finally {
      // oxlint-disable-next-line no-await-in-loop -- four small files
      await file.close();
    }
  }
}
