import { type JsonValue, parseJsonDocument } from "@moiety/checkpoints";
import { FormatError, type RandomKey } from "@moiety/core";
import { type TreeNode, isRecord } from "./tree.ts";

/** One run in a saved folder. */
export interface SavedRun {
  readonly params: TreeNode;
  readonly state: TreeNode;
  readonly optimizer: TreeNode;
  readonly step: number;
  readonly steps: number;
  readonly key: RandomKey;
}

/** What `training.json` says. It is written last: what it names lies whole on the disk. */
export interface Manifest {
  readonly format: "moiety-training";
  readonly version: 1;
  /** Name of the file with the tensors, in the same folder. */
  readonly file: string;
  /** SHA-256 of the tensors' bytes in the order of the file, in hex. */
  readonly sha256: string;
  readonly runs: { readonly [name: string]: SavedRun };
  readonly metadata: JsonValue;
}

/** Reads and checks a manifest. Throws {@link FormatError} for what no writer of ours wrote. */
export function parseManifest(bytes: Uint8Array, path: string): Manifest {
  const { value } = parseJsonDocument(bytes, path);
  const fail = (what: string): never => {
    throw new FormatError(
      `${path}: ${what}; the file is damaged or not a saved training, restore it or start anew`,
      0,
    );
  };
  if (value["format"] !== "moiety-training") fail("its format is not moiety-training");
  if (value["version"] !== 1) fail(`its version is ${String(value["version"])}, known is 1`);
  const { file, sha256, runs, metadata = null } = value;
  if (typeof file !== "string" || !/^training-[\w-]+\.safetensors$/.test(file)) {
    return fail("it names no tensor file");
  }
  if (typeof sha256 !== "string" || !/^[\da-f]{64}$/.test(sha256)) return fail("it has no sha256");
  if (!isRecord(runs)) return fail("it holds no runs");
  const parsed = Object.entries(runs).map(([name, run]) => [name, runOf(run, name, fail)] as const);
  return {
    format: "moiety-training",
    version: 1,
    file,
    sha256,
    runs: Object.fromEntries(parsed),
    metadata: metadata as JsonValue,
  };
}

type Fail = (what: string) => never;

function runOf(run: unknown, name: string, fail: Fail): SavedRun {
  if (!isRecord(run)) return fail(`run ${name} is no object`);
  const { step, steps, key } = run;
  if (!isCount(step) || !isCount(steps) || step > steps) {
    return fail(`run ${name} has no valid step and steps`);
  }
  const [first, second, ...rest] = Array.isArray(key) ? (key as unknown[]) : [];
  if (!isWord(first) || !isWord(second) || rest.length > 0) return fail(`run ${name} has no key`);
  return {
    params: nodeOf(run["params"], `${name}.params`, fail),
    state: nodeOf(run["state"], `${name}.state`, fail),
    optimizer: nodeOf(run["optimizer"], `${name}.optimizer`, fail),
    step,
    steps,
    key: [first, second],
  };
}

function nodeOf(node: unknown, path: string, fail: Fail): TreeNode {
  const [kind, ...others] = isRecord(node) ? Object.keys(node) : [];
  if (!isRecord(node) || others.length > 0) return fail(`${path} is no node of a tree`);
  const content = node[kind ?? ""];
  if (kind === "value") return { value: content as JsonValue };
  if (kind === "tensor" && typeof content === "string") return { tensor: content };
  if (kind === "list" && Array.isArray(content)) {
    return { list: content.map((child, index) => nodeOf(child, `${path}.${index}`, fail)) };
  }
  if (kind === "tree" && isRecord(content)) {
    const entries = Object.entries(content).map(
      ([key, child]) => [key, nodeOf(child, `${path}.${key}`, fail)] as const,
    );
    return { tree: Object.fromEntries(entries) };
  }
  return fail(`${path} is no node of a tree`);
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0;
}

function isWord(value: unknown): value is number {
  return isCount(value) && value < 2 ** 32;
}
