import {
  type TensorBinding,
  type TensorReader,
  bindRules,
  checkTensors,
  readPath,
  requireMatch,
  splitPath,
} from "@moiety/checkpoints";
import type { Backend, FloatDType, Shape, Tensor } from "@moiety/core";
import { type ConfiguredBlock, mapShapes, shapesByPath } from "@moiety/models";
import type { GoldenCase, Recorded, Values } from "./case.ts";

/** Before the names of weights in a case. */
const PREFIX = "weights.";

/** The leaves of a block, bound to the names of a case's weights. */
export type BlockBindings = ReadonlyMap<string, TensorBinding>;

/** A tree of leaves by path: `router.weight`, `state.router.selectionBias`. */
export type LeafTree = { readonly [key: string]: Tensor | LeafTree | undefined };

/** Binds the leaves of a block. */
export function bindBlock({ rules, sizes, shapes }: ConfiguredBlock): BlockBindings {
  const bindings = bindRules(rules, sizes, shapesByPath(shapes));
  return new Map(bindings.map((binding) => [binding.path, binding]));
}

/**
 * Uploads a case's weights as the tree of a block's leaves.
 *
 * @throws CheckpointMismatchError where the case's weights are not those of the block
 */
export async function loadWeights(
  golden: GoldenCase,
  block: ConfiguredBlock,
  bindings: BlockBindings,
  backend: Backend,
  dtype: FloatDType,
): Promise<LeafTree> {
  const reader = weightReader(golden.tensors);
  requireMatch(checkTensors([...bindings.values()], reader.tensors), "the case");
  const leaves = new Map<string, Tensor>();
  for (const binding of bindings.values()) {
    const { data, shape } = await readPath(reader, binding, dtype);
    leaves.set(binding.path, backend.tensor(data, { shape, dtype }));
  }
  return mapShapes(block.shapes, (_, path) => leaves.get(path)) as LeafTree;
}

/** Takes the values of a leaf apart into the case's tensors of which it is made, by name. */
export async function splitLeaf(
  binding: TensorBinding,
  { shape, data, bounds }: Values,
): Promise<(readonly [name: string, values: Values])[]> {
  const parts = await splitData(binding, shape, data);
  const off = bounds && (await splitData(binding, shape, bounds));
  return parts.map(([name, part], index) => [name, { ...part, bounds: off?.[index]?.[1].data }]);
}

async function splitData(
  binding: TensorBinding,
  shape: Shape,
  data: Float64Array,
): Promise<(readonly [name: string, values: Values])[]> {
  const entries = splitPath(binding, { dtype: "f64", shape, data });
  return Promise.all(
    entries.map(async (entry) => {
      const bytes = (await entry.bytes()).slice();
      return [entry.name, { shape: entry.shape, data: new Float64Array(bytes.buffer) }] as const;
    }),
  );
}

/** The weights of a case under their own names, as a file would give them. */
function weightReader(tensors: ReadonlyMap<string, Recorded>): TensorReader {
  const weights = new Map(
    [...tensors.values()]
      .filter(({ name }) => name.startsWith(PREFIX))
      .map((tensor) => [tensor.name.slice(PREFIX.length), tensor]),
  );
  const bytesOf = (name: string): Uint8Array => {
    const data = weights.get(name)?.data ?? new Float64Array(0);
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  };
  const shapeOf = (name: string): Shape => weights.get(name)?.shape ?? [];
  return {
    tensors: new Map(
      [...weights].map(([name, { shape, data }]) => [
        name,
        { name, dtype: "F64", shape, offset: 0, byteLength: data.byteLength },
      ]),
    ),
    read: async (name) => ({ name, dtype: "F64", shape: shapeOf(name), bytes: bytesOf(name) }),
    async readRows(name, start, end) {
      const [rows = 1, ...rest] = shapeOf(name);
      const bytes = bytesOf(name);
      const width = bytes.length / rows;
      const part = bytes.subarray(start * width, end * width);
      return { name, dtype: "F64", shape: [end - start, ...rest], bytes: part };
    },
    async readInto(name, byteStart, target) {
      target.set(bytesOf(name).subarray(byteStart, byteStart + target.length));
    },
  };
}
