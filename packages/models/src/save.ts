import {
  type HostTensor,
  type JsonDocument,
  type SafetensorsMetadata,
  type TensorBinding,
  type TensorEntry,
  splitPath,
} from "@moiety/checkpoints";
import {
  ConfigError,
  ShapeError,
  type Tensor,
  formatShape,
  isFloat,
  isTensor,
  leavesOf,
  sameShape,
} from "@moiety/core";
import { bindModel } from "./bindings.ts";
import { extensionWarnings, readExtension } from "./extension.ts";
import type { ModelConfig } from "./from-config.ts";
import type { ReadyModel } from "./load.ts";

/** What a model folder is made of: what `saveCheckpoint` of `@moiety/checkpoints/node` takes. */
export interface ModelContent {
  readonly config: JsonDocument;
  readonly generationConfig?: JsonDocument | undefined;
  readonly tensors: Iterable<TensorEntry>;
  readonly metadata?: SafetensorsMetadata | undefined;
}

/**
 * Saves a model in Hugging Face's layout, with the configuration that it was loaded or made with.
 * Tensors are written in the dtypes that they were loaded in, those of a new model as F32. Leaves
 * are read from the backend when their turn comes, so they must stay as they are until then.
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
  });
  return extensionWarnings(readExtension(document.value), family.modelType);
}

/** The tensors of a model as a checkpoint holds them. @throws ConfigError, ShapeError */
export function modelEntries({ model, params, state, config }: ReadyModel): TensorEntry[] {
  const bindings = bindModel({ model, config });
  const leaves = new Map(
    leavesOf({ ...params, state }).map(({ path, leaf }) => [path, leaf] as const),
  );
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
  if (!isTensor(leaf) || !(isFloat(leaf.dtype) || (mayBeWhole && leaf.dtype === "i32"))) {
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
  const { parts, shape } = binding;
  let reading: Promise<HostTensor> | undefined;
  let left = parts.length;
  // One read serves all parts of a leaf, and the last of them lets it go.
  const host = async (): Promise<HostTensor> => {
    reading ??= leaf.read().then((data) => ({ dtype: leaf.dtype, shape, data }));
    const values = await reading;
    left--;
    if (left === 0) {
      reading = undefined;
      left = parts.length;
    }
    return values;
  };
  return parts.map(({ name, shape: part }, index) => {
    const dtype = stored?.get(name) ?? (leaf.dtype === "i32" ? "I32" : "F32");
    return {
      name,
      dtype,
      shape: part,
      bytes: async () => {
        const entry = splitPath(binding, await host(), dtype)[index];
        return (await entry?.bytes()) ?? new Uint8Array();
      },
    };
  });
}
