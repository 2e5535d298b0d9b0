import {
  ConfigError,
  type Routing,
  type RoutingLoss,
  ShapeError,
  type Tensor,
  type TokenChoice,
  UnsupportedError,
  add,
  div,
  formatShape,
} from "@moiety/core";
import { type Target, checkTarget } from "./target.ts";

/** What every loss takes. */
export interface LossOptions {
  /** Factor of the loss in the total. */
  readonly coefficient: number;
}

/** What every balance loss takes. */
export interface BalanceOptions extends LossOptions {
  /**
   * The share of the load that each expert shall have, `[E]`, above 0, summing to 1; even unless
   * given. The loss then has its balanced value where load and probabilities are the target.
   */
  readonly target?: Target | undefined;
}

/** Makes a loss that frees what it makes on the way. @throws ConfigError on a bad coefficient or target */
export function defineLoss(
  name: string,
  { coefficient, target }: BalanceOptions,
  evaluate: (routings: readonly [Routing, ...Routing[]]) => Tensor,
): RoutingLoss {
  if (!Number.isFinite(coefficient)) {
    throw new ConfigError(
      `${name}: coefficient is ${String(coefficient)}, but must be a finite number`,
      "coefficient",
      coefficient,
    );
  }
  if (target !== undefined) checkTarget(name, target);
  return {
    name,
    coefficient,
    evaluate: (routings) => {
      const [first, ...rest] = routings;
      if (first === undefined) {
        throw new ConfigError(
          `${name} needs the routing of at least one layer`,
          "routings",
          routings,
        );
      }
      for (const routing of routings) requireTokens(name, routing);
      return first.logits.backend.scope(() => evaluate([first, ...rest]));
    },
  };
}

/** The mean of one number for each layer. */
export function meanOfLayers(
  [first, ...rest]: readonly [Routing, ...Routing[]],
  of: (routing: Routing) => Tensor,
): Tensor {
  return div(
    rest.reduce((total, routing) => add(total, of(routing)), of(first)),
    rest.length + 1,
  );
}

/** The routing, if tokens choose in it. @throws UnsupportedError */
export function requireTokenChoice(name: string, routing: Routing): TokenChoice {
  if (routing.kind === "token-choice") return routing;
  throw new UnsupportedError(
    `${name} counts the choices of tokens, which a routing of kind ${routing.kind} does not have`,
    "token-choice routing",
  );
}

/** Throws unless the value is one of those named. */
export function requireOption(
  name: string,
  key: string,
  value: string,
  allowed: readonly string[],
): void {
  if (allowed.includes(value)) return;
  throw new ConfigError(
    `${name}: ${key} is ${String(value)}, but must be ${allowed.join(" or ")}`,
    key,
    value,
  );
}

/** Throws where mask or sequences are not those of the routing's tokens. */
function requireTokens(name: string, { logits, mask, sequences }: Routing): void {
  const [tokens = 0] = logits.shape;
  if (mask && (mask.rank !== 1 || mask.size !== tokens)) {
    throw new ShapeError(
      `${name}: the routing's mask is ${formatShape(mask.shape)}, but must be [${tokens}]`,
      { op: name, shapes: [mask.shape, logits.shape] },
    );
  }
  if (sequences && sequences.at(-1) !== tokens) {
    throw new ConfigError(
      `${name}: the routing's sequences end at ${String(sequences.at(-1))}, but it has ${tokens} tokens`,
      "sequences",
      sequences,
    );
  }
}
