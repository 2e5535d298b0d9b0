import {
  type Initialized,
  type InitOptions,
  type Leaf,
  type QuantizedTensor,
  type RandomKey,
  type Tensor,
  ConfigError,
  isTensor,
  leavesOf,
  mapTree,
  randomKey,
} from "@moiety/core";
import type { CaseContext, HostTensors, ProgramRun } from "../case.ts";
import { type HostTensor, generated } from "../host-tensor.ts";

/** What draws its parameters: a router, a bank, a layer. */
export interface Drawn<Params, State> {
  /** Draws them. */
  init(key: RandomKey, options: InitOptions): Initialized<Params, State>;
}

const KEY: RandomKey = /*#__PURE__*/ randomKey(11);

/**
 * The leaves of a part's parameters and state on the host, as `PREFIX.params.PATH` and
 * `PREFIX.state.PATH`. Floats are moved away from what `init` gives, so that weights are large, and
 * neither are biases 0 nor scales 1; state is moved a little; integers stay, and so do quantised
 * weights, which are two leaves: `PATH.codes` and `PATH.scales`.
 */
export async function leavesOnHost<Params, State>(
  test: CaseContext,
  part: Drawn<Params, State>,
  prefix: string,
): Promise<Record<string, HostTensor>> {
  const first = await test.reference({}, ({ backend }) => {
    const leaves = leavesOf(part.init(KEY, { backend }));
    return Object.fromEntries(leaves.flatMap(({ path, leaf }) => tensorsOf(path, leaf)));
  });
  const entries = Object.entries(first).map(([path, { values, shape, dtype }]) => {
    const isState = path.startsWith("state.");
    const isHeld = first[path.replace(/\.scales$/u, ".codes")]?.dtype === "u8";
    const steps =
      dtype === "f32" && !isHeld
        ? test.random.normal(shape, isState ? 0.05 : spread(shape))
        : undefined;
    const leaf = generated(shape, dtype, (at) => (values[at] ?? 0) + (steps?.data[at] ?? 0));
    return [`${prefix}.${path}`, leaf] as const;
  });
  return Object.fromEntries(entries);
}

/** How far a parameter is moved: a matrix by 1.2 / √(its last dimension), anything else by 0.3. */
function spread(shape: readonly number[]): number {
  const [columns = 1] = shape.slice(-1);
  return shape.length < 2 ? 0.3 : 1.2 / Math.sqrt(Math.max(columns, 1));
}

/** The trees that {@link leavesOnHost} took apart, of a run's tensors. */
export function treesOf<Params, State>(
  { backend, inputs }: ProgramRun<HostTensors>,
  part: Drawn<Params, State>,
  prefix: string,
): Initialized<Params, State> {
  const given = (path: string): Tensor => {
    const tensor = inputs[`${prefix}.${path}`];
    if (tensor) return tensor;
    throw new ConfigError(`there is no input ${prefix}.${path}`, path, undefined);
  };
  return mapTree(part.init(KEY, { backend }), (leaf, path): Tensor | QuantizedTensor =>
    isTensor(leaf)
      ? given(path)
      : { codes: given(`${path}.codes`), scales: given(`${path}.scales`) },
  ) as Initialized<Params, State>;
}

/** The tensors of a leaf by their paths. */
function tensorsOf(path: string, leaf: Leaf): readonly (readonly [string, Tensor])[] {
  if (isTensor(leaf)) return [[path, leaf]];
  return [
    [`${path}.codes`, leaf.codes],
    [`${path}.scales`, leaf.scales],
  ];
}
