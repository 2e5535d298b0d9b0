import create from "@moiety/backend-cpu";
import {
  type Backend,
  type Tensor,
  add,
  hostNormal,
  isFloat,
  isTensor,
  leavesOf,
  mul,
  randomKey,
  sizeOf,
  sum,
  valueAndGrad,
} from "@moiety/core";
import { type Drawn, treesOf } from "@moiety/conformance";
import { expect } from "vitest";

/** The oracle, whole in float64. */
export const backend: Backend = await create();

/** Tensors by name. */
export type Leaves = Readonly<Record<string, Tensor>>;

/** Standard normal numbers in float64, the same for the same seed. */
export function drawn(seed: number, shape: readonly number[], scale = 1): Tensor {
  const values = hostNormal(randomKey(seed), sizeOf(shape)).map((value) => value * scale);
  return backend.tensor(values, { shape, dtype: "f64" });
}

/** Parameters and state of a part, floats moved away from what it starts from. */
export async function leavesOfPart<Params, State>(
  part: Drawn<Params, State>,
  prefix: string,
  seed = 1,
): Promise<Record<string, Tensor>> {
  const entries = leavesOf(part.init(randomKey(seed), { backend, dtype: "f64" })).flatMap(
    ({ path, leaf }, index): [string, Tensor][] => {
      if (!isTensor(leaf)) {
        const held = Object.entries<Tensor>({ ...leaf });
        return held.map(([name, tensor]) => [`${prefix}.${path}.${name}`, tensor]);
      }
      const width = Math.max(leaf.shape.at(-1) ?? 1, 1);
      const scale = path.startsWith("state.") ? 0.05 : leaf.rank < 2 ? 0.3 : 1.2 / Math.sqrt(width);
      const moved = isFloat(leaf.dtype)
        ? add(leaf, drawn(seed * 100 + index, leaf.shape, scale))
        : leaf;
      return [[`${prefix}.${path}`, moved]];
    },
  );
  return Object.fromEntries(entries);
}

/** The part's trees of those leaves. */
export function partOf<Params, State>(
  leaves: Leaves,
  part: Drawn<Params, State>,
  prefix: string,
): ReturnType<typeof treesOf<Params, State>> {
  return treesOf({ backend, float: "f64", inputs: leaves }, part, prefix);
}

/** Σ outputs · fixed normal numbers, over those that are floats. */
export function weighed(outputs: Leaves): Tensor {
  const terms = Object.values(outputs)
    .filter(({ dtype }) => isFloat(dtype))
    .map((output, index) => sum(mul(output, drawn(900 + index, output.shape))));
  return terms.reduce((total, term) => add(total, term));
}

/** What is checked of a gradient. */
export interface Differences {
  /** What the gradient is that of; the objective itself unless given. */
  readonly reference?: ((leaves: Leaves) => Tensor) | undefined;
  /** The leaves that are moved; all floats that do not begin with a state's name unless given. */
  readonly wrt?: readonly string[] | undefined;
  /** Leaves that must have no gradient. */
  readonly frozen?: ((name: string) => boolean) | undefined;
}

const STEP = 1e-5;
/** Elements of a leaf that are moved, at most. */
const MOST = 12;

/**
 * Holds the gradient of a scalar to central differences in float64, element by element (of large
 * leaves some, spread evenly). @returns how many elements had a gradient other than 0
 */
export async function holdToDifferences(
  leaves: Leaves,
  objective: (leaves: Leaves) => Tensor,
  { reference = objective, wrt = floatsOf(leaves), frozen = () => false }: Differences = {},
): Promise<number> {
  const params = Object.fromEntries(wrt.map((name) => [name, leaves[name] as Tensor]));
  const { grads } = valueAndGrad((traced: Leaves) => objective({ ...leaves, ...traced }))(params);
  const slope = (name: string, at: number): Promise<number> => slopeAt(leaves, reference, name, at);
  let moving = 0;
  for (const name of wrt) {
    const gradient = await grads[name]?.read();
    if (frozen(name)) {
      expect(gradient, `${name} is frozen`).toBeUndefined();
      continue;
    }
    const { size } = leaves[name] as Tensor;
    const largest = Math.max(1, ...(gradient ?? []).map(Math.abs));
    for (let index = 0; index < Math.min(size, MOST); index++) {
      const at = Math.floor((index * size) / Math.min(size, MOST));
      const got = gradient?.[at] ?? 0;
      const wanted = await slope(name, at);
      expect(
        Math.abs(got - wanted) / largest,
        `${name}[${at}]: ${got}, not ${wanted}`,
      ).toBeLessThan(1e-7);
      if (Math.abs(got) > 1e-9) moving++;
    }
  }
  return moving;
}

async function slopeAt(
  leaves: Leaves,
  objective: (leaves: Leaves) => Tensor,
  name: string,
  at: number,
): Promise<number> {
  const leaf = leaves[name] as Tensor;
  const values = Float64Array.from(await leaf.read());
  const end = async (by: number): Promise<number> => {
    const moved = values.slice();
    moved[at] = (moved[at] ?? 0) + by;
    const tensor = backend.tensor(moved, { shape: leaf.shape, dtype: "f64" });
    const value = backend.scope(() => objective({ ...leaves, [name]: tensor }));
    const [height = Number.NaN] = await value.read();
    value.dispose();
    tensor.dispose();
    return height;
  };
  return ((await end(STEP)) - (await end(-STEP))) / (2 * STEP);
}

/** Floats that are parameters or inputs, not state. */
function floatsOf(leaves: Leaves): string[] {
  return Object.entries(leaves).flatMap(([name, { dtype }]) =>
    isFloat(dtype) && !name.includes(".state.") ? [name] : [],
  );
}
