import { ConfigError, type MapTree, type Tensor, isFloat, isTensor, leavesOf } from "@moiety/core";

/**
 * What an optimizer remembers: trees of the form of the parameters, by name (`first` and `second`
 * moments). Places of parameters that do not train hold `null`.
 */
export interface OptimizerState<Params> {
  readonly [name: string]: MapTree<Params, Tensor | null>;
}

/** What one update needs. */
export interface OptimizerUpdate<Params> {
  /** Consumed: their buffers are written in place. Use the result's. */
  readonly params: Params;
  /**
   * Of the form of the parameters, as `valueAndGrad` gives them; a leaf with `null` stays as it is,
   * with its moments. Not consumed.
   */
  readonly grads: MapTree<Params, Tensor | null>;
  /** Consumed, like the parameters. */
  readonly state: OptimizerState<Params>;
  /** Instead of the optimizer's own. */
  readonly learningRate?: number | undefined;
  /** 1 in the first update. Bias correction goes by it, also for a leaf that was skipped before. */
  readonly step: number;
}

/** What an update gives. */
export interface OptimizerResult<Params> {
  readonly params: Params;
  readonly state: OptimizerState<Params>;
}

/** An optimizer: a value that holds settings, and nothing that changes. */
export interface Optimizer {
  readonly name: string;
  /** Used where an update is given no other. */
  readonly learningRate: number;
  /** Zeros of the shapes of the parameters; `null` for integers and quantised weights. */
  init<Params>(params: Params): OptimizerState<Params>;
  /** @throws ConfigError where trees differ in form, ShapeError where a gradient does not fit */
  update<Params>(update: OptimizerUpdate<Params>): OptimizerResult<Params>;
}

/** Throws {@link ConfigError} unless a setting lies in a range; `below` is outside it. */
export function requireSetting(
  optimizer: string,
  key: string,
  value: number,
  below: number = Number.POSITIVE_INFINITY,
): void {
  if (value >= 0 && value < below) return;
  const range = below === Number.POSITIVE_INFINITY ? "at least 0" : `from 0 up to below ${below}`;
  throw new ConfigError(`${optimizer}: ${key} is ${value}, but must be ${range}`, key, value);
}

/**
 * Throws {@link ConfigError} where one tensor stands at two places of a tree: an update in place
 * would write it twice.
 */
export function requireDistinct(params: unknown): void {
  const paths = new Map<unknown, string>();
  for (const { path, leaf } of leavesOf(params)) {
    const other = paths.get(leaf);
    if (other !== undefined) {
      throw new ConfigError(
        `the same tensor stands at ${other} and at ${path}; keep shared weights at one place of ` +
          "the tree, so that they have one gradient",
        path,
        undefined,
      );
    }
    paths.set(leaf, path);
  }
}

/** Whether a leaf can have a gradient. */
export function isTrainable(leaf: unknown): leaf is Tensor {
  return isTensor(leaf) && isFloat(leaf.dtype);
}
