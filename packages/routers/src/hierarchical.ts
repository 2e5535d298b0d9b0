import {
  type CapacitySpec,
  type RandomKey,
  type RouteContext,
  type RouteSpec,
  type Tensor,
  type TokenChoice,
  atLeast,
  checkRouteContext,
  flattenTokens,
  checkRouteSpec,
  matmul,
  normalParameter,
  routeTokens,
  splitKey,
} from "@moiety/core";
import { floatOf } from "./dtype.ts";
import { type ShapedRouter, routerParameter } from "./gate.ts";
import {
  type Level,
  type LevelSpec,
  gatedLevel,
  labelledLevel,
  logitsOf,
  scoresOf,
  selectByLevels,
  weighByLevels,
} from "./hierarchy.ts";
import { refuseOption, requirePositive, requireWhole } from "./option.ts";
import { contextIds } from "./token-ids.ts";

/** One level of a {@link hierarchicalRouter}. */
export interface HierarchyLevelOptions {
  /**
   * How the branches of a node are scored, chosen and weighted: `experts` is their number, `topK`
   * how many of them a token takes. The biases, capacities and sites of specs have no place here.
   */
  readonly spec: LevelSpec;
  /** `gate` (a learned one; the default), or `label`: `context.labels` names the branch. */
  readonly by?: "gate" | "label" | undefined;
}

/** Options of {@link hierarchicalRouter}. */
export interface HierarchicalOptions {
  /** H. */
  readonly inputSize: number;
  /** From coarse to fine. Only the first can go by labels, with `topK` 1. */
  readonly levels: readonly HierarchyLevelOptions[];
  /** Of the experts at the bottom. Dropless unless given. */
  readonly capacity?: CapacitySpec | undefined;
  /** Standard deviation of the initial weights; 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

/** Parameters of one level; a level that goes by labels has none. */
export interface HierarchyLevelParams {
  /** `[N · b, H]`: a row for each branch of each of the N nodes above. */
  readonly weight?: Tensor | undefined;
}

/** Parameters of a {@link hierarchicalRouter}. */
export interface HierarchicalParams {
  readonly levels: readonly HierarchyLevelParams[];
}

/** A router that goes down a tree of experts. */
export interface HierarchicalRouter extends ShapedRouter<HierarchicalParams> {
  /** Experts per token k: the product of the levels' `topK`. */
  readonly topK: number;
  route(
    params: HierarchicalParams,
    state: Readonly<Record<never, never>>,
    x: Tensor,
    context?: RouteContext,
  ): TokenChoice;
}

/**
 * Makes a router that chooses a group first, then within it, to any depth: E is the product of the
 * levels' branches, k that of their `topK`. On each level a node's logits are x · Wᵀ of its own
 * rows; weights multiply along the way. Expert e = (… (i₁ · b₂ + i₂) · b₃ …) + i_n, so the experts of
 * a group stand together. With one branch above it, a level equals a flat router.
 *
 * `scores` are the products of the levels' scores; `logits` those of the last level plus the
 * log-probabilities of the branches above. A token whose label is none of the branches gets no
 * expert. No token sees another, unless there is a capacity.
 *
 * Papers: Jordan & Jacobs, "Hierarchical Mixtures of Experts" (1994); Shazeer et al., "Outrageously
 * Large Neural Networks" (2017), appendix B.
 * @throws ConfigError
 */
export function hierarchicalRouter(options: HierarchicalOptions): HierarchicalRouter {
  checkOptions(options);
  const { inputSize, levels, capacity, initializerRange = 0.02 } = options;
  const nodes = levels.map((_, index) =>
    levels.slice(0, index).reduce((product, { spec }) => product * spec.experts, 1),
  );
  const shapes = levels.map(({ spec, by }, index) =>
    by === "label" ? {} : { weight: [(nodes[index] ?? 1) * spec.experts, inputSize] },
  );
  const experts = levels.reduce((product, { spec }) => product * spec.experts, 1);
  const topK = levels.reduce((product, { spec }) => product * spec.topK, 1);
  const whole: RouteSpec = { experts, topK, score: "identity", capacity };
  checkRouteSpec(whole);
  return {
    experts,
    topK,
    inputSize,
    acrossTokens: capacity !== undefined,
    shapes: { levels: shapes },
    stateShapes: {},
    init(key: RandomKey, init) {
      const keys = splitKey(key, levels.length);
      const drawn = shapes.map(({ weight }, index) =>
        weight
          ? { weight: normalParameter(keys[index] ?? key, weight, initializerRange, init) }
          : {},
      );
      return { params: { levels: drawn }, state: {} };
    },
    route(params, _, x, context = {}) {
      const wide = atLeast(flattenTokens(x, inputSize), "f32");
      const tokens = wide.shape[0] ?? 0;
      checkRouteContext(context, tokens);
      if (params.levels?.length !== levels.length) {
        throw refuseOption("params.levels.length", params.levels?.length, `${levels.length}`);
      }
      const made = levels.map(({ spec, by }, index): Level => {
        const leaf = params.levels[index] ?? {};
        const weight = routerParameter(leaf, "weight", shapes[index]?.weight);
        if (by === "label" || weight === undefined) {
          const dtype = floatOf(wide);
          return labelledLevel(contextIds(context, "labels", tokens), spec, dtype);
        }
        return gatedLevel(matmul(wide, weight, { transposeB: true }), spec, nodes[index] ?? 1);
      });
      return routeTokens(whole, { logits: logitsOf(made, tokens) }, context, {
        score: () => scoresOf(made, tokens),
        select: () => selectByLevels(made, wide.backend, tokens),
        weight: ({ indices }) => weighByLevels(made, indices),
      });
    },
  };
}

function checkOptions({ inputSize, levels, initializerRange = 0.02 }: HierarchicalOptions): void {
  requireWhole("inputSize", inputSize);
  requirePositive("initializerRange", initializerRange);
  if (levels.length === 0) throw refuseOption("levels", "empty", "one level at least");
  for (const [index, { spec, by = "gate" }] of levels.entries()) {
    checkRouteSpec(spec);
    const { capacity, bias, site, renormalize } = spec as RouteSpec;
    if (capacity || bias || (site ?? "output") !== "output" || renormalize?.when === "after") {
      throw refuseOption(
        `levels[${index}].spec`,
        JSON.stringify(spec),
        "without bias, capacity, site and renormalisation after dropping",
      );
    }
    if (by !== "gate" && by !== "label")
      throw refuseOption(`levels[${index}].by`, by, "gate or label");
    if (by === "label" && (index > 0 || spec.topK !== 1)) {
      throw refuseOption(`levels[${index}].by`, by, "gate, except on a first level with topK 1");
    }
  }
}
