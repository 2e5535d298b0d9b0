import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { type JsonValue, type SafetensorsFile, openSafetensors, toHost } from "@moiety/checkpoints";
import { fileSource } from "@moiety/checkpoints/node";
import { type Backend, ConfigError, FormatError, type Tensor } from "@moiety/core";
import type { OptimizerState } from "../optimizer.ts";
import type { TrainingSnapshot } from "../snapshot.ts";
import { dtypeOf } from "./dtype.ts";
import { MANIFEST } from "./folder.ts";
import { type Like, requireLike } from "./like.ts";
import { type Manifest, type SavedRun, parseManifest } from "./manifest.ts";
import { ONLY_RUN } from "./save.ts";
import { rebuildTree, tensorNames } from "./tree.ts";

/** A loaded run. */
export interface LoadedTraining<Params, State> {
  readonly snapshot: TrainingSnapshot<Params, State>;
  /** What was saved beside it. */
  readonly metadata: JsonValue;
}

/** Several loaded runs. */
export interface LoadedTrainings<Params, State> {
  readonly snapshots: Readonly<Record<string, TrainingSnapshot<Params, State>>>;
  readonly metadata: JsonValue;
}

/**
 * Loads what {@link saveTraining} saved. The trees come back in the form in which they were saved;
 * with `like` (say, freshly made parameters and state) they are first held against it.
 *
 * @throws ConfigError for a folder that holds nothing saved, and naming the leaf where the trees
 *   differ from `like`
 * @throws FormatError for a damaged or truncated file
 */
export async function loadTraining<Params, State>(
  folder: string,
  backend: Backend,
  like?: Like<Params, State>,
): Promise<LoadedTraining<Params, State>> {
  const { snapshots, metadata } = await loadTrainings(
    folder,
    backend,
    like && { [ONLY_RUN]: like },
    [ONLY_RUN],
  );
  return { snapshot: snapshots[ONLY_RUN] as TrainingSnapshot<Params, State>, metadata };
}

/**
 * Loads what `saveTrainings` saved. See {@link loadTraining}; `like` is by name of the run.
 *
 * @throws ConfigError for a folder that holds nothing saved or other runs, and naming the leaf where
 *   the trees differ from `like`
 * @throws FormatError for a damaged or truncated file
 */
export async function loadTrainings<Params, State>(
  folder: string,
  backend: Backend,
  like?: Readonly<Record<string, Like<Params, State>>>,
  names: readonly string[] | undefined = like && Object.keys(like),
): Promise<LoadedTrainings<Params, State>> {
  const manifest = await readManifest(folder);
  requireRuns(folder, Object.keys(manifest.runs), names);
  const path = join(folder, manifest.file);
  const source = await fileSource(path);
  const loaded = new Map<string, Tensor>();
  try {
    const file = await openSafetensors(source);
    requireTensors(path, file, manifest);
    for (const [name, run] of Object.entries(manifest.runs)) {
      const wanted = like?.[name];
      if (wanted !== undefined) requireLike(run, wanted, file.tensors, name);
    }
    await loadTensors(path, file, manifest.sha256, backend, loaded);
  } catch (error) {
    for (const tensor of loaded.values()) tensor.dispose();
    throw error;
  } finally {
    await source.close();
  }
  const snapshots = Object.entries(manifest.runs).map(
    ([name, run]) => [name, snapshotOf<Params, State>(run, loaded)] as const,
  );
  return { snapshots: Object.fromEntries(snapshots), metadata: manifest.metadata };
}

async function readManifest(folder: string): Promise<Manifest> {
  const path = join(folder, MANIFEST);
  try {
    await stat(path);
  } catch (cause) {
    throw new ConfigError(
      `${folder} holds no saved training (${MANIFEST} is missing); give the folder of one`,
      "folder",
      folder,
      { cause },
    );
  }
  return parseManifest(await readFile(path), path);
}

function requireRuns(
  folder: string,
  found: readonly string[],
  names: readonly string[] | undefined,
): void {
  if (names === undefined) return;
  if ([...found].sort().join() === [...names].sort().join()) return;
  throw new ConfigError(
    `${folder} holds the runs ${found.join(", ")}, but ${names.join(", ")} were asked for`,
    "runs",
    found,
  );
}

/** What the manifest names and what the file holds must be the same. */
function requireTensors(path: string, file: SafetensorsFile, manifest: Manifest): void {
  const named = new Set(
    Object.values(manifest.runs).flatMap(({ params, state, optimizer }) =>
      [params, state, optimizer].flatMap(tensorNames),
    ),
  );
  const missing = [...named].find((name) => !file.tensors.has(name));
  const extra = [...file.tensors.keys()].find((name) => !named.has(name));
  if (missing === undefined && extra === undefined) return;
  const what = missing === undefined ? `holds ${extra}, which` : `lacks ${missing}, which`;
  const does = missing === undefined ? "does not name" : "names";
  throw new FormatError(
    `${path} ${what} ${MANIFEST} ${does}; the files do not belong together, restore them`,
    0,
  );
}

async function loadTensors(
  path: string,
  file: SafetensorsFile,
  expected: string,
  backend: Backend,
  loaded: Map<string, Tensor>,
): Promise<void> {
  const hash = createHash("sha256");
  for (const [name, { dtype: stored, offset }] of file.tensors) {
    const dtype = dtypeOf(stored);
    if (dtype === undefined) {
      throw new FormatError(`${path}: ${name} is ${stored}, which no snapshot holds`, offset);
    }
    const view = await file.read(name);
    hash.update(view.bytes);
    const { shape, data } = toHost(view, dtype);
    loaded.set(name, backend.tensor(data, { shape, dtype }));
  }
  if (hash.digest("hex") === expected) return;
  throw new FormatError(
    `${path}: its bytes are not those that were saved (SHA-256 differs); the file is damaged, ` +
      "restore it or start anew",
    0,
  );
}

function snapshotOf<Params, State>(
  { params, state, optimizer, step, steps, key }: SavedRun,
  loaded: ReadonlyMap<string, Tensor>,
): TrainingSnapshot<Params, State> {
  const give = (name: string): Tensor | undefined => loaded.get(name);
  return {
    params: rebuildTree(params, give) as Params,
    state: rebuildTree(state, give) as State,
    optimizer: rebuildTree(optimizer, give) as OptimizerState<Params>,
    step,
    steps,
    key,
  };
}
