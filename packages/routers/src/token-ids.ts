import {
  ConfigError,
  DTypeError,
  type RouteContext,
  ShapeError,
  type Tensor,
  and,
  formatShape,
  greaterEqual,
  isTensor,
  less,
  sameShape,
} from "@moiety/core";

/**
 * A per-token number of the context, `[T]` i32.
 * @throws ConfigError where it is missing, DTypeError, ShapeError
 */
export function contextIds(
  context: RouteContext,
  name: "tokenIds" | "labels",
  tokens: number,
): Tensor {
  const ids = context[name];
  if (!isTensor(ids)) {
    throw new ConfigError(
      `the router goes by context.${name}, which is ${String(ids)}; give a tensor i32[${tokens}]`,
      `context.${name}`,
      ids,
    );
  }
  if (ids.dtype !== "i32") {
    throw new DTypeError(`context.${name} is ${ids.dtype}, but must be i32; cast it`);
  }
  if (sameShape(ids.shape, [tokens])) return ids;
  throw new ShapeError(
    `context.${name} is ${formatShape(ids.shape)}, but must be [${tokens}], one for each token`,
    { shapes: [ids.shape] },
  );
}

/** `[T]` bool: whether an id is one of 0…count − 1. */
export function idsWithin(ids: Tensor, count: number): Tensor {
  return and(greaterEqual(ids, 0), less(ids, count));
}

/**
 * Refuses token ids that a table of `vocabSize` rows does not have. Routing cannot: there the ids
 * are on the device, nothing is read back, and a token whose id is outside gets no expert. So check
 * ids where they are still numbers, or read them: `requireTokenIds(await tokenIds.read(), size)`.
 * @throws ConfigError naming the first id that is outside, and its position
 */
export function requireTokenIds(ids: ArrayLike<number>, vocabSize: number): void {
  for (let at = 0; at < ids.length; at++) {
    const id = ids[at] as number;
    if (Number.isInteger(id) && id >= 0 && id < vocabSize) continue;
    throw new ConfigError(
      `token id ${id} at position ${at} is outside the table, whose ids go from 0 to ${vocabSize - 1}`,
      "tokenIds",
      id,
    );
  }
}
