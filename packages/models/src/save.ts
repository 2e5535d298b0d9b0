import {
  type JsonDocument,
  type SafetensorsDtype,
  type SafetensorsMetadata,
  type TensorBinding,
  type TensorEntry,
  type TensorPart,
  splitPath,
} from "@moiety/checkpoints";
import {
  ConfigError,
  type HostArray,
  ShapeError,
  type Tensor,
  formatShape,
  hostArray,
  isTensor,
  leavesOf,
  sameShape,
  sizeOf,
  slice,
} from "@moiety/core";
import { bindModel } from "./bindings.ts";
import { extensionWarnings, readExtension } from "./extension.ts";
import type { ModelConfig } from "./from-config.ts";
import type { ReadyModel } from "./load.ts";
import { tensorsOf } from "./quantize/bindings.ts";
import { isHeld, quantizationWarnings, readQuantization } from "./quantize/quantization.ts";
import { shapesByPath } from "./tree.ts";

/** What a model folder is made of: what `saveCheckpoint` of `@moiety/checkpoints/node` takes. */
export interface ModelContent {
  readonly config: JsonDocument;
  readonly generationConfig?: JsonDocument | undefined;
  readonly tensors: Iterable<TensorEntry>;
  readonly metadata?: SafetensorsMetadata | undefined;
  /** How many parameters there are, for the index of shards. */
  readonly totalParameters?: number | undefined;
}

/**
 * Saves a model in Hugging Face's layout, with the configuration that it was loaded or made with.
 * Tensors are written in the dtypes that they were loaded in, those of a new model as F32. What each
 * tensor of the file holds is read from the backend when its turn comes, so the leaves must stay as they
 * are until then, and no more than one tensor is held on the host.
 *
 * Returns a line for each thing that other loaders would make something else of.
 * @throws ConfigError, ShapeError where parameters or state do not fit the configuration
 *
 * @example
 * const warnings = await saveModel((content) => saveCheckpoint(folder, content), ready);
 */
export async function saveModel(
  write: (content: ModelContent) => Promise<void>,
  ready: ReadyModel,
): Promise<string[]> {
  const { config } = ready;
  const { document, generation, metadata, family } = config;
  await write({
    config: document,
    generationConfig: generation,
    tensors: modelEntries(ready),
    metadata,
    totalParameters: [...shapesByPath(ready.model.shapes).values()].reduce(
      (sum, shape) => sum + sizeOf(shape),
      0,
    ),
  });
  return [
    ...extensionWarnings(readExtension(document.value), family.modelType),
    ...quantizationWarnings(readQuantization(document.value).quantization),
  ];
}

/** The tensors of a model as a checkpoint holds them. @throws ConfigError, ShapeError */
export function modelEntries({ model, params, state, config }: ReadyModel): TensorEntry[] {
  const bindings = bindModel({ model, config });
  const leaves = new Map(leavesOf({ ...params, state }).flatMap(tensorsOf));
  const strangers = [...leaves.keys()].filter((path) => !bindings.some((b) => b.path === path));
  if (strangers.length > 0) {
    throw new ConfigError(
      `the parameters hold ${strangers.join(", ")}, which this configuration has no place for`,
      "params",
      strangers,
    );
  }
  return bindings.flatMap((binding) =>
    entriesOf(binding, requireLeaf(binding, leaves.get(binding.path)), config),
  );
}

function requireLeaf({ path, shape }: TensorBinding, leaf: unknown): Tensor {
  // Tables of routers are state, and hold whole numbers.
  const mayBeWhole = path.startsWith("state.");
  if (!isTensor(leaf) || !(isHeld(leaf, path) || (mayBeWhole && leaf.dtype === "i32"))) {
    throw new ConfigError(
      `${path} is ${isTensor(leaf) ? leaf.dtype : "missing"}, but must be a float tensor`,
      path,
      leaf,
    );
  }
  if (sameShape(leaf.shape, shape)) return leaf;
  throw new ShapeError(
    `${path} is ${formatShape(leaf.shape)}, but this configuration needs ${formatShape(shape)}`,
    { shapes: [leaf.shape, shape] },
  );
}

function entriesOf(binding: TensorBinding, leaf: Tensor, { stored }: ModelConfig): TensorEntry[] {
  return binding.parts.map((part) => {
    const { name, shape } = part;
    const dtype = stored?.get(name) ?? (leaf.dtype === "f64" ? "F32" : storedDtype(leaf));
    return {
      name,
      dtype,
      shape,
      bytes: async () => {
        const data = await readPart(leaf, part);
        const host = { dtype: leaf.dtype, shape: [part.size], data };
        const [entry] = splitPath(alone(binding, part), host, dtype);
        return (await entry?.bytes()) ?? new Uint8Array();
      },
    };
  });
}

/** The file dtype that keeps what a leaf holds. */
function storedDtype({ dtype }: Tensor): SafetensorsDtype {
  return dtype.toUpperCase() as SafetensorsDtype;
}

/** The elements of a part, piece after piece. */
async function readPart(leaf: Tensor, { start, size, pieces }: TensorPart): Promise<HostArray> {
  if (size === sizeOf(leaf.shape)) return leaf.read();
  const { count, step } = pieces ?? { count: 1, step: size };
  const length = count > 0 ? size / count : 0;
  if (count === 1 || step === length) return readRange(leaf, start, size);
  const data = hostArray(leaf.dtype, size);
  for (let piece = 0; piece < count; piece++) {
    data.set(await readRange(leaf, start + piece * step, length), piece * length);
  }
  return data;
}

async function readRange(leaf: Tensor, start: number, size: number): Promise<HostArray> {
  const flat = leaf.reshape([sizeOf(leaf.shape)]);
  const range = slice(flat, { starts: [start], sizes: [size] });
  try {
    return await range.read();
  } finally {
    flat.dispose();
    range.dispose();
  }
}

/** The binding of a part's elements alone. */
function alone(binding: TensorBinding, part: TensorPart): TensorBinding {
  const { count = 1 } = part.pieces ?? {};
  const step = count > 0 ? part.size / count : 0;
  const only = { ...part, start: 0, ...(part.pieces && { pieces: { count, step } }) };
  return { ...binding, shape: [part.size], parts: [only] };
}
