import createWasm from "@moiety/backend-wasm";
import { type DirectoryLike, directoryFolder, openFolder } from "@moiety/checkpoints";
import { generate } from "../../generate.ts";
import { loadModel } from "../../load.ts";

/** What the page is asked for. */
export interface GenerateRequest {
  /** The files of a model folder by name, in base64. */
  readonly files: Readonly<Record<string, string>>;
  readonly prompt: readonly number[];
  readonly maxNewTokens: number;
  /** The likeliest tokens unless given. */
  readonly temperature?: number;
}

/** What of the origin's private file system is used here. */
interface PrivateFolder extends DirectoryLike {
  getDirectoryHandle(name: string, options: { create: boolean }): Promise<PrivateFolder>;
  getFileHandle(name: string, options?: { create: boolean }): Promise<PrivateFile>;
}

interface PrivateFile {
  getFile(): Promise<Blob>;
  createWritable(): Promise<{ write(data: Uint8Array): Promise<void>; close(): Promise<void> }>;
}

/** Puts a model into the origin's private file system, loads it from there, and continues a prompt. */
export default async function generateFromPrivateFiles(
  request: GenerateRequest,
): Promise<readonly number[]> {
  const folder = await privateFolder("model");
  for (const [name, text] of Object.entries(request.files)) {
    // oxlint-disable-next-line no-await-in-loop -- one file at a time
    await write(folder, name, text);
  }
  const backend = await createWasm();
  const checkpoint = await openFolder(directoryFolder(folder));
  const { model, params, state } = await loadModel(checkpoint, { backend });
  const tokens: number[] = [];
  const { prompt, maxNewTokens, temperature } = request;
  const options = { maxNewTokens, temperature };
  for await (const token of generate(model, params, state, prompt, options)) {
    tokens.push(token);
  }
  await backend.dispose();
  return tokens;
}

async function privateFolder(name: string): Promise<PrivateFolder> {
  const { navigator } = globalThis as unknown as {
    readonly navigator: { readonly storage: { getDirectory(): Promise<PrivateFolder> } };
  };
  const root = await navigator.storage.getDirectory();
  return root.getDirectoryHandle(name, { create: true });
}

async function write(folder: PrivateFolder, name: string, text: string): Promise<void> {
  const handle = await folder.getFileHandle(name, { create: true });
  const file = await handle.createWritable();
  await file.write(Uint8Array.from(atob(text), (character) => character.charCodeAt(0)));
  await file.close();
}
