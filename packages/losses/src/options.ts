import {
  ConfigError,
  type Routing,
  type RoutingLoss,
  type Tensor,
  type TokenChoice,
  UnsupportedError,
  add,
  div,
} from "@moiety/core";

/** What every loss takes. */
export interface LossOptions {
  /** Factor of the loss in the total. */
  readonly coefficient: number;
}

/** Makes a loss that frees what it makes on the way. @throws ConfigError on a bad coefficient */
export function defineLoss(
  name: string,
  { coefficient }: LossOptions,
  evaluate: (routings: readonly [Routing, ...Routing[]]) => Tensor,
): RoutingLoss {
  if (!Number.isFinite(coefficient)) {
    throw new ConfigError(
      `${name}: coefficient is ${String(coefficient)}, but must be a finite number`,
      "coefficient",
      coefficient,
    );
  }
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
