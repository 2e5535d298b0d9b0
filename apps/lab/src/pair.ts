import type { ModelName } from "./result.ts";

/** Both models, side by side. */
export type Pair<T> = Readonly<Record<ModelName, T>>;

/** Both, in the order in which they take their turns. */
export const modelNames: readonly ModelName[] = ["sparse", "dense"];
