import type { TensorInfo } from "@moiety/checkpoints";
import { ConfigError, type Tensor, formatShape, sameShape } from "@moiety/core";
import type { OptimizerState } from "../optimizer.ts";
import { storedAs } from "./dtype.ts";
import type { SavedRun } from "./manifest.ts";
import { type TreeNode, describeTree, tensorNames } from "./tree.ts";

/** Trees of the form that a saved run must have. Their tensors are only looked at. */
export interface Like<Params, State> {
  readonly params: Params;
  readonly state: State;
  /** From the optimizer's `init`, to see that the run used the same. Not compared unless given. */
  readonly optimizer?: OptimizerState<Params> | undefined;
}

/** Throws {@link ConfigError} naming the first leaf at which a saved run differs from `like`. */
export function requireLike(
  run: SavedRun,
  like: Like<unknown, unknown>,
  tensors: ReadonlyMap<string, TensorInfo>,
  name: string,
): void {
  for (const part of ["params", "state", "optimizer"] as const) {
    const wanted = like[part];
    if (wanted !== undefined) requireSame(run[part], wanted, tensors, `${name}.${part}`);
  }
}

function requireSame(
  saved: TreeNode,
  like: unknown,
  tensors: ReadonlyMap<string, TensorInfo>,
  name: string,
): void {
  const wanted = new Map<string, Tensor>();
  describeTree(like, name, (path, tensor) => wanted.set(path, tensor));
  const found = new Set(tensorNames(saved));
  const refuse = (path: string, what: string): never => {
    throw new ConfigError(
      `the saved training does not fit: ${path} ${what}; resume with the configuration that the ` +
        "run was started with",
      path,
      undefined,
    );
  };
  for (const [path, tensor] of wanted) {
    const info = tensors.get(path);
    if (!found.has(path) || info === undefined) return refuse(path, "is missing in it");
    if (!sameShape(info.shape, tensor.shape)) {
      const shapes = `${formatShape(info.shape)} in it, but ${formatShape(tensor.shape)} here`;
      return refuse(path, `is ${shapes}`);
    }
    if (info.dtype !== storedAs(tensor.dtype)) {
      return refuse(path, `is ${info.dtype} in it, but ${storedAs(tensor.dtype)} here`);
    }
  }
  const extra = [...found].find((path) => !wanted.has(path));
  if (extra !== undefined) refuse(extra, "stands in it, but not here");
}
