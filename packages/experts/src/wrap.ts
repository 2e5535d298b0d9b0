import {
  ConfigError,
  type ExpertBank,
  type InitOptions,
  type RandomKey,
  type Routing,
  type Rows,
  type Shape,
  type Tensor,
  type TokenChoice,
  foldIn,
} from "@moiety/core";
import type { ShapedBank } from "./bank.ts";

/** Parameters of a bank inside another. */
export interface Wrapped<Inner> {
  /** Parameters of the bank inside. */
  readonly bank: Inner;
}

/** What a bank around another one adds. */
export interface Wrapping<Inner, Params extends Wrapped<Inner>> {
  /** The function's name, for errors. */
  readonly name: string;
  /** E, H and O where they differ from those of the bank inside. */
  readonly experts?: number | undefined;
  readonly inputSize?: number | undefined;
  readonly outputSize?: number | undefined;
  /** Shapes of the parameters beside `bank`. */
  readonly shapes: Readonly<Record<string, Shape>>;
  /** Draws the parameters beside `bank`. */
  draw(key: RandomKey, options: InitOptions): Omit<Params, "bank">;
  /** Rows grouped by expert → `[A, O]`. */
  forward(params: Params, rows: Rows): Tensor;
  /** `x [T, H]` → `[T, O]`. */
  mix(params: Params, x: Tensor, routing: TokenChoice): Tensor;
  /** What the bank inside sees of a routing; all of it unless given. */
  narrow?(routing: Routing): Routing;
}

/**
 * Makes a bank around another: the inner bank draws from `foldIn(key, 0)`, the parameters around it
 * from `foldIn(key, 1)`.
 * @throws ConfigError around a bank that runs elsewhere
 */
export function wrapBank<Inner, Params extends Wrapped<Inner>>(
  bank: ShapedBank<Inner>,
  wrapping: Wrapping<Inner, Params>,
): ShapedBank<Params> {
  const { name, shapes, narrow } = wrapping;
  requireHere(name, bank);
  return {
    experts: wrapping.experts ?? bank.experts,
    inputSize: wrapping.inputSize ?? bank.inputSize,
    outputSize: wrapping.outputSize ?? bank.outputSize,
    shapes: { bank: bank.shapes, ...shapes } as ShapedBank<Params>["shapes"],
    init(key, options) {
      const inner = bank.init(foldIn(key, 0), options).params;
      const own = wrapping.draw(foldIn(key, 1), options);
      return { params: { bank: inner, ...own } as Params, state: {} };
    },
    forward: (params, rows) => wrapping.forward(params, rows),
    mix: (params, x, routing) => wrapping.mix(params, x, routing),
    ...(bank.prepare && {
      prepare: async (params: Params, routing: Routing) =>
        bank.prepare?.(params.bank, narrow ? narrow(routing) : routing),
    }),
  };
}

/** Refuses a bank whose combined output is computed elsewhere. @throws ConfigError */
export function requireHere<Params>(name: string, bank: ExpertBank<Params>): void {
  if (bank.remote === undefined) return;
  throw new ConfigError(
    `${name} needs a bank that runs here, but this one has remote; wrap it where it runs`,
    "bank",
    bank,
  );
}

/** Refuses a bank whose experts are loaded when needed, or run elsewhere. @throws ConfigError */
export function requireResident<Params>(name: string, bank: ExpertBank<Params>): void {
  requireHere(name, bank);
  if (bank.prepare === undefined) return;
  throw new ConfigError(
    `${name} needs a bank whose experts are all here, but this one has prepare`,
    "bank",
    bank,
  );
}
