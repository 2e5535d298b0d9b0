import { ConfigError, type Routing, ShapeError, type Tensor, UnsupportedError } from "@moiety/core";
import type { ReplayableRouter } from "./forced-balance.ts";
import type { ReplayContext } from "./staged-router.ts";

/** The choices of one routing as plain data: JSON and back leaves it as it is. */
export interface RoutingRecord {
  readonly version: 1;
  /** E. */
  readonly experts: number;
  /** T. */
  readonly tokens: number;
  /** k. */
  readonly topK: number;
  /** T · k experts that tokens chose, token by token; E means no expert. */
  readonly selected: readonly number[];
  /** T · k experts that had a place for them; E where they had none. */
  readonly placed: readonly number[];
}

/**
 * Reads the choices of a routing from the device.
 * @throws UnsupportedError unless tokens choose in it
 */
export async function recordRouting(routing: Routing): Promise<RoutingRecord> {
  if (routing.kind !== "token-choice") {
    throw new UnsupportedError(
      `a routing of kind ${routing.kind} cannot be recorded: only the choices of tokens can`,
      "token-choice routing",
    );
  }
  const { experts } = routing;
  const [tokens = 0, topK = 0] = routing.selected.shape;
  // With a varying count fewer may have run than were chosen.
  const width = routing.indices.shape[1] ?? 0;
  const [selected, placed] = await Promise.all([routing.selected.read(), routing.indices.read()]);
  const placeOf = (token: number, choice: number): number =>
    choice < width ? Number(placed[token * width + choice]) : experts;
  return {
    version: 1,
    experts,
    tokens,
    topK,
    selected: [...selected].map(Number),
    placed: Array.from({ length: tokens * topK }, (_, at) =>
      placeOf(Math.floor(at / topK), at % topK),
    ),
  };
}

/**
 * A router that plays a record back: choices and places are the recorded ones, whatever the router
 * inside would choose, drop or draw; logits, scores, weights and their gradients are its own. With the
 * parameters, input and key of the recorded run it gives the recorded routing again. A call of another
 * number of tokens is refused. For routers that train on what another machine served, so that both
 * agree on the experts.
 *
 * Source: Megatron-LM `router_replay.py`. @throws ConfigError where record and router do not fit
 *
 * @example
 * const record = await recordRouting(routing);
 * const replayed = replayRouter(router, record).route(params, state, x);
 */
export function replayRouter<Params, State>(
  router: ReplayableRouter<Params, State>,
  record: RoutingRecord,
): ReplayableRouter<Params, State> {
  checkRecord(record);
  const { experts, topK } = router.spec;
  if (record.experts !== experts || record.topK !== topK) {
    throw refuse(
      "experts",
      [record.experts, record.topK],
      `of ${experts} experts and ${topK} choices, like the router`,
    );
  }
  return {
    ...router,
    init: (key, options) => router.init(key, options),
    route(params, state, x, context = {}) {
      if (x.shape[0] !== record.tokens) {
        throw new ShapeError(
          `the record is of ${record.tokens} tokens, but the input has ${x.shape[0]}`,
          { shapes: [x.shape] },
        );
      }
      const upload = (ids: readonly number[]): Tensor =>
        x.backend.tensor(Int32Array.from(ids), { shape: [record.tokens, topK] });
      const replayed: ReplayContext = {
        ...context,
        selected: upload(record.selected),
        placed: upload(record.placed),
      };
      return router.route(params, state, x, replayed);
    },
  };
}

/** Refuses what is not a record, such as damaged JSON, naming the value. @throws ConfigError */
export function checkRecord(record: RoutingRecord): void {
  const { version, experts, tokens, topK } = record;
  if (version !== 1) throw refuse("version", version, "1");
  for (const [key, value] of Object.entries({ experts, tokens, topK })) {
    if (!(Number.isSafeInteger(value) && value >= 0)) throw refuse(key, value, "a whole number");
  }
  for (const key of ["selected", "placed"] as const) checkIds(record, key);
  for (const [place, expert] of record.placed.entries()) {
    const chosen = record.selected[place] ?? experts;
    if (expert !== experts && chosen === experts) {
      throw refuse(`placed[${place}]`, expert, `${experts}: that choice was no expert`);
    }
  }
}

function checkIds(record: RoutingRecord, key: "selected" | "placed"): void {
  const { experts, tokens, topK } = record;
  const ids: unknown = record[key];
  const count = tokens * topK;
  if (!Array.isArray(ids) || ids.length !== count) {
    throw refuse(key, Array.isArray(ids) ? ids.length : ids, `a list of ${count} experts`);
  }
  const list: readonly unknown[] = ids;
  for (const [place, id] of list.entries()) {
    if (Number.isInteger(id) && (id as number) >= 0 && (id as number) <= experts) continue;
    throw refuse(`${key}[${place}]`, id, `a whole number from 0 to ${experts}`);
  }
  for (let token = 0; token < tokens; token++) {
    const own = list.slice(token * topK, (token + 1) * topK).filter((id) => id !== experts);
    if (new Set(own).size !== own.length) {
      throw refuse(`${key}[${token * topK}…]`, own, "the distinct experts of a token");
    }
  }
}

function refuse(key: string, value: unknown, wanted: string): ConfigError {
  return new ConfigError(
    `record: ${key} is ${JSON.stringify(value) ?? String(value)}, but must be ${wanted}`,
    `record.${key}`,
    value,
  );
}
