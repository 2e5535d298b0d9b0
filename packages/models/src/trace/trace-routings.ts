import { ConfigError, ShapeError, type Tensor, formatShape } from "@moiety/core";
import type { DecoderOutput } from "../decoder/decoder.ts";
import type { RoutedToken } from "./routed-token.ts";
import { type RoutingTable, readRouting } from "./routing-table.ts";

/** Options of {@link traceRoutings}. */
export interface TraceOptions {
  /**
   * Numbers of the layers that the routings are of, as {@link RoutedToken} gives them; `expertLayers`
   * knows them. Counted from 0 unless given, which is right where every layer has experts.
   */
  readonly layers?: readonly number[] | undefined;
  /** `[B, T]` bool: false for padding, which gives no record. That of the routings unless given. */
  readonly mask?: Tensor | undefined;
  /** How many tokens of each sequence went before, in a cache. None unless given. */
  readonly before?: readonly number[] | undefined;
}

/**
 * Reads where each token of a call went: a record for each token of `ids [B, T]`, sequence by
 * sequence. The output and the ids stay alive.
 *
 * @example
 * const output = apply(model, params, state, ids);
 * const layers = expertLayers(model.config).map(({ layer }) => layer);
 * const records = await traceRoutings(output, ids, { layers });
 */
export async function traceRoutings(
  { routings }: Pick<DecoderOutput, "routings">,
  ids: Tensor,
  options: TraceOptions = {},
): Promise<RoutedToken[]> {
  const { layers = routings.map((_, index) => index), before = [] } = options;
  if (layers.length !== routings.length) {
    throw new ConfigError(
      `layers names ${layers.length} layers, but there are routings of ${routings.length}`,
      "layers",
      layers,
    );
  }
  const [batch = 0, tokens = 0] = ids.shape;
  for (const { logits } of routings) {
    if (ids.rank === 2 && (logits.shape[0] ?? 0) === ids.size) continue;
    throw new ShapeError(
      `the ids are ${formatShape(ids.shape)}, but a routing is of ${logits.shape[0]} tokens`,
      { shapes: [ids.shape, logits.shape] },
    );
  }
  const given = options.mask ?? routings[0]?.mask;
  const [tables, host, mask] = await Promise.all([
    Promise.all(routings.map(readRouting)),
    ids.read(),
    given?.read(),
  ]);
  return records(tables, layers, { ids: host, mask, batch, tokens, before });
}

/** The tokens of a call on the host. */
export interface TracedTokens {
  /** `[B, T]`. */
  readonly ids: ArrayLike<number>;
  /** `[B, T]`: 0 for padding. All are tokens unless given. */
  readonly mask?: ArrayLike<number> | undefined;
  readonly batch: number;
  readonly tokens: number;
  /** How many tokens of each sequence went before. */
  readonly before: readonly number[];
}

/** A record for each token of a call that is no padding, sequence by sequence. */
export function records(
  tables: readonly RoutingTable[],
  layers: readonly number[],
  { ids, mask, batch, tokens, before }: TracedTokens,
): RoutedToken[] {
  const result: RoutedToken[] = [];
  for (let sequence = 0; sequence < batch; sequence++) {
    let position = before[sequence] ?? 0;
    for (let at = sequence * tokens; at < (sequence + 1) * tokens; at++) {
      if (mask?.[at] === 0) continue;
      result.push({
        sequence,
        position,
        token: ids[at] ?? 0,
        layers: tables.map((table, index) => ({ layer: layers[index] ?? index, ...table(at) })),
      });
      position += 1;
    }
  }
  return result;
}
