import {
  type RouteSpec,
  type Tensor,
  gatherRows,
  normalParameter,
  selectExperts,
} from "@moiety/core";
import { onlyWhere, weighPresent } from "./absent.ts";
import { type Gate, routerParameter } from "./gate.ts";
import { requireNotNegative, requireWhole } from "./option.ts";
import { type StagedRouter, stagedRouter } from "./staged-router.ts";
import { contextIds, idsWithin } from "./token-ids.ts";

/** Parameters of a token gate. */
export interface TokenGateParams {
  /** `[V, E]` logits of each token id. */
  readonly table: Tensor;
}

/** Options of {@link tokenGate}. */
export interface TokenGateOptions {
  /** E. */
  readonly experts: number;
  /** H of the router's input, which it does not look at. */
  readonly inputSize: number;
  /** Number of token ids V. */
  readonly vocabSize: number;
  /** Standard deviation of the initial table; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/**
 * `logits = table[tokenIds]`: a learned row of logits for each token id. An id outside the table
 * gives logits 0. Needs `context.tokenIds`.
 * @throws ConfigError
 */
export function tokenGate(options: TokenGateOptions): Gate<TokenGateParams> {
  const { experts, inputSize, vocabSize, initializerRange = 0.02 } = options;
  requireWhole("vocabSize", vocabSize);
  requireNotNegative("initializerRange", initializerRange);
  const shape = [vocabSize, experts];
  return {
    experts,
    inputSize,
    shapes: { table: shape },
    init: (key, init) => ({ table: normalParameter(key, shape, initializerRange, init) }),
    forward(params, x, context) {
      const table = routerParameter(params, "table", shape) as Tensor;
      return { logits: gatherRows(table, contextIds(context, "tokenIds", x.shape[0] ?? 0)) };
    },
  };
}

/** Options of {@link learnedTableRouter}. */
export interface LearnedTableOptions {
  /** H. */
  readonly hiddenSize: number;
  /** Number of token ids V. */
  readonly vocabSize: number;
  /** What follows the logits. */
  readonly spec: RouteSpec;
  /** Standard deviation of the initial table; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/**
 * Routes by a learned table: the logits of a token are those of its id, whatever stands around it.
 * A token whose id is outside the table gets no expert (see `requireTokenIds`). No token sees
 * another.
 * @throws ConfigError
 */
export function learnedTableRouter(options: LearnedTableOptions): StagedRouter<TokenGateParams> {
  const { hiddenSize, vocabSize, spec, initializerRange } = options;
  const { experts } = spec;
  return stagedRouter({
    gate: tokenGate({ experts, inputSize: hiddenSize, vocabSize, initializerRange }),
    spec,
    stages: ({ context }) => ({
      select(selection, attributes) {
        const ids = contextIds(context, "tokenIds", selection.logits.shape[0] ?? 0);
        return onlyWhere(idsWithin(ids, vocabSize), selectExperts(selection, attributes), experts);
      },
      weight: weighPresent,
    }),
  });
}
