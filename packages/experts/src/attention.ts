import {
  ConfigError,
  type Initialized,
  type InitOptions,
  type NoState,
  type RandomKey,
  type Routing,
  type Shape,
  ShapeError,
  type Tensor,
  add,
  combine,
  constantParameter,
  dispatch,
  foldIn,
  formatShape,
  normalParameter,
  plan,
  spread,
} from "@moiety/core";
import { attendByGroup, keysAndValues, turnOf } from "./attention-heads.ts";
import type {
  AttentionExpertsContext,
  AttentionExpertsOptions,
  AttentionExpertsParams,
  AttentionExpertsResult,
} from "./attention-types.ts";
import { linearExperts } from "./linear.ts";
import { refuse, requireDeviation, requireSize } from "./options.ts";
import type { ShapesOf } from "./shapes.ts";

/** Experts that attend. */
export interface AttentionExperts {
  readonly experts: number;
  /** H. */
  readonly inputSize: number;
  /** The shape of every parameter. */
  readonly shapes: ShapesOf<AttentionExpertsParams>;
  /** Draws its parameters. */
  init(key: RandomKey, options: InitOptions): Initialized<AttentionExpertsParams, NoState>;
  /** Attends on `x [B, T, H]` as routed (a routing of B·T tokens). @throws ConfigError, ShapeError */
  attend(
    params: AttentionExpertsParams,
    x: Tensor,
    routing: Routing,
    context?: AttentionExpertsContext,
  ): AttentionExpertsResult;
}

/**
 * Attention whose query and output projections are experts, with keys and values shared by all
 * (mixture of attention heads: Zhang et al., arXiv 2210.05144; with several heads for each expert:
 * JetMoE, arXiv 2404.07413, transformers' `JetMoeMoA` and `JetMoeAttention`). One routing serves
 * both projections: query bank → `spread` → attention of k·G query heads over G key heads →
 * `dispatch` → output bank → `combine`. Head g of every chosen expert looks at key head g.
 * Only token-choice routing gives a token a fixed number of queries.
 * @throws ConfigError naming the option
 */
export function attentionExperts(options: AttentionExpertsOptions): AttentionExperts {
  checkOptions(options);
  const { experts, hiddenSize, numKeyValueHeads, headDim, outputBias = false } = options;
  const { initializerRange = 0.02 } = options;
  const width = numKeyValueHeads * headDim;
  const common = { experts, initializerRange };
  const queryBank = linearExperts({ ...common, hiddenSize, outputSize: width });
  const outputBank = linearExperts({ ...common, hiddenSize: width, outputSize: hiddenSize });
  const keyValue: Shape = [2 * width, hiddenSize];
  return {
    experts,
    inputSize: hiddenSize,
    shapes: {
      query: queryBank.shapes,
      keyValue,
      output: outputBank.shapes,
      ...(outputBias && { bias: [hiddenSize] }),
    },
    init(key, init) {
      const params = {
        query: queryBank.init(foldIn(key, 0), init).params,
        keyValue: normalParameter(foldIn(key, 1), keyValue, initializerRange, init),
        output: outputBank.init(foldIn(key, 2), init).params,
        ...(outputBias && { bias: constantParameter(0, [hiddenSize], init) }),
      };
      return { params, state: {} };
    },
    attend(params, x, routing, context = {}) {
      const [batch = 0, tokens = 0] = requireSequences(x, hiddenSize);
      const flat = x.reshape([batch * tokens, hiddenSize]);
      requireRouting(routing, experts, batch * tokens);
      const sorted = plan(routing);
      const rows = queryBank.forward(params.query, dispatch(flat, sorted, routing.inputWeights));
      const heads = [batch, tokens, sorted.choices * numKeyValueHeads, headDim];
      const turn = turnOf(options, context, x, tokens);
      const queries = turn(spread(rows, sorted).reshape(heads));
      const { keys, values, cache } = keysAndValues(options, params, x, context, turn);
      const attended = attendByGroup(options, queries, keys, values, context);
      // The output bank's rows come from choices, where the query bank's came from tokens.
      const { order, offsets, group } = sorted;
      const outputs = outputBank.forward(params.output, {
        source: attended.reshape([batch * tokens * sorted.choices, width]),
        index: order,
        offsets,
        group,
      });
      const combined = combine(outputs, sorted, routing.outputWeights);
      const output = params.bias ? add(combined, params.bias) : combined;
      return { output: output.reshape(x.shape), ...(cache && { cache }) };
    },
  };
}

function checkOptions(options: AttentionExpertsOptions): void {
  const { experts, hiddenSize, numKeyValueHeads, headDim, ropeTheta } = options;
  for (const [key, size] of Object.entries({ experts, hiddenSize, numKeyValueHeads, headDim })) {
    requireSize(key, size);
  }
  requireDeviation(options.initializerRange ?? 0);
  if (ropeTheta === undefined) return;
  if (!(ropeTheta > 0 && Number.isFinite(ropeTheta))) {
    throw refuse("ropeTheta", ropeTheta, "a finite number above 0");
  }
  if (headDim % 2 === 1) throw refuse("headDim", headDim, "even where heads are rotated");
}

/** The shape of `x [B, T, width]`. @throws ShapeError */
export function requireSequences(x: Tensor, width: number): Shape {
  if (x.rank === 3 && x.shape[2] === width) return x.shape;
  throw new ShapeError(`x is ${formatShape(x.shape)}, but must be [B, T, ${width}]`, {
    shapes: [x.shape],
  });
}

function requireRouting(
  routing: Routing,
  experts: number,
  tokens: number,
): asserts routing is Extract<Routing, { kind: "token-choice" }> {
  if (routing.kind !== "token-choice") {
    throw new ConfigError(
      `attention experts need token-choice routing, not ${routing.kind}: a token has a query for ` +
        "each of its choices",
      "routing",
      routing.kind,
    );
  }
  if (routing.experts !== experts) {
    throw new ConfigError(
      `the routing has ${routing.experts} experts, but the bank has ${experts}`,
      "experts",
      routing.experts,
    );
  }
  if (routing.indices.shape[0] === tokens) return;
  throw new ShapeError(
    `the routing is of ${routing.indices.shape[0]} tokens, but x has ${tokens}`,
    { shapes: [routing.indices.shape] },
  );
}
