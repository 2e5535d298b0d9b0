import type { ModelName } from "./result.ts";

/** All three models, side by side. */
export type Twins<T> = Readonly<Record<ModelName, T>>;

/** All of them, in the order in which they take their turns. */
export const modelNames: readonly ModelName[] = ["sparse", "dense", "hash"];

/** Makes one thing of each model. */
export function forTwins<T>(make: (name: ModelName) => T): Twins<T> {
  return { sparse: make("sparse"), dense: make("dense"), hash: make("hash") };
}
