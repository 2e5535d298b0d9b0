import {
  type InitOptions,
  type RandomKey,
  type Rows,
  type Tensor,
  type TokenChoice,
  ConfigError,
  UnsupportedError,
  add,
  foldIn,
  gather,
  less,
  mixExperts,
  mul,
  normalParameter,
  select,
  slice,
  sum,
} from "@moiety/core";
import type { ShapedBank } from "./bank.ts";
import { constantsOfChoices, constantsOfRows } from "./constant.ts";
import { refuse, requireDeviation, requireSize } from "./options.ts";
import { type IdRange, isWithin } from "./range.ts";
import { type Wrapped, wrapBank } from "./wrap.ts";

/** Experts without a network: of one kind, behind those that have one. */
export interface SpecialExperts {
  /**
   * `identity` (LongCat-Flash's zero-computation experts, MoE++'s copy) returns its input, `zero`
   * nothing, `constant` (MoE++) a₀·x + a₁·v with a = softmax(W·x) and W and v learned.
   */
  readonly kind: "identity" | "zero" | "constant";
  /** How many. */
  readonly count: number;
}

/** Parameters of a bank with special experts. n counts the constant ones. */
export interface SpecialParams<Inner> extends Wrapped<Inner> {
  /** `[n, 2, H]`: W. Only with constant experts. */
  readonly gate?: Tensor | undefined;
  /** `[n, O]`: v. Only with constant experts. */
  readonly constant?: Tensor | undefined;
}

/** Options of {@link withSpecialExperts}. */
export interface SpecialOptions {
  /** Standard deviation of W and v at the start. 0.02 unless given. */
  readonly initializerRange?: number | undefined;
}

const KINDS: readonly SpecialExperts["kind"][] = ["identity", "zero", "constant"];

/**
 * A bank and experts that cost no matrix product behind it: ids from `bank.experts` on belong to
 * the special experts, kind by kind as listed. A token's output is the combined output of its
 * choices within the bank, run as one fused op where the bank has one, plus the special ones.
 * Sources: LongCat-Flash (`zero_expert_num`), MoE++ (arXiv 2410.07348, `moe_plus_plus_layer.py`).
 *
 * @example
 * const bank = withSpecialExperts(glu({ experts: 8, ...sizes }), [{ kind: "identity", count: 4 }]);
 * @throws ConfigError naming the option
 */
export function withSpecialExperts<Inner>(
  bank: ShapedBank<Inner>,
  special: readonly SpecialExperts[],
  { initializerRange = 0.02 }: SpecialOptions = {},
): ShapedBank<SpecialParams<Inner>> {
  requireDeviation(initializerRange);
  const { identity, constant, experts } = rangesOf(bank, special);
  const shapes = constant && {
    gate: [constant.count, 2, bank.inputSize],
    constant: [constant.count, bank.outputSize],
  };
  const narrow = (routing: TokenChoice): TokenChoice => withinBank(routing, bank.experts, experts);
  return wrapBank<Inner, SpecialParams<Inner>>(bank, {
    name: "withSpecialExperts",
    experts,
    shapes: { ...shapes },
    draw: (key: RandomKey, init: InitOptions) => ({
      ...(shapes && {
        gate: normalParameter(foldIn(key, 0), shapes.gate, initializerRange, init),
        constant: normalParameter(foldIn(key, 1), shapes.constant, initializerRange, init),
      }),
    }),
    narrow(routing) {
      if (routing.kind === "token-choice") return narrow(routing);
      throw new UnsupportedError(
        "a bank with prepare behind special experts needs token-choice routing",
        "token-choice routing",
      );
    },
    forward(params, rows) {
      const networks = bank.forward(params.bank, {
        ...rows,
        offsets: slice(rows.offsets, { starts: [0], sizes: [bank.experts + 1] }),
      });
      const others = specialRows(params, rows, identity, constant);
      const row = rows.group.reshape([rows.group.size, 1]);
      return select(less(row, bank.experts), networks, others);
    },
    mix(params, x, routing) {
      const networks = mixExperts(bank, params.bank, x, narrow(routing));
      const { indices, outputWeights, inputWeights } = routing;
      const weights = inputWeights ? mul(outputWeights, inputWeights) : outputWeights;
      const share = identity && sum(select(isWithin(indices, identity), weights, 0), [1], true);
      const copied = share ? add(networks, mul(x, share)) : networks;
      return constant
        ? add(copied, constantsOfChoices(constantParams(params), constant, x, routing))
        : copied;
    },
  });
}

/** Ids of each kind. */
interface SpecialRanges {
  readonly identity: IdRange | undefined;
  readonly constant: IdRange | undefined;
  /** All experts, those of the bank included. */
  readonly experts: number;
}

function rangesOf<Inner>(
  bank: ShapedBank<Inner>,
  special: readonly SpecialExperts[],
): SpecialRanges {
  const found = new Map<SpecialExperts["kind"], IdRange>();
  let start = bank.experts;
  for (const { kind, count } of special) {
    if (!KINDS.includes(kind)) throw refuse("kind", kind, `one of ${KINDS.join(", ")}`);
    if (found.has(kind)) throw refuse("kind", kind, "listed once");
    requireSize("count", count);
    if (kind !== "zero" && bank.inputSize !== bank.outputSize) {
      throw refuse("kind", kind, "zero where inputs and outputs of the bank differ in width");
    }
    found.set(kind, { start, count });
    start += count;
  }
  if (found.size === 0) throw refuse("special", "empty", "a list of special experts");
  return { identity: found.get("identity"), constant: found.get("constant"), experts: start };
}

/** The routing as the bank sees it: choices of special experts are none. */
function withinBank(routing: TokenChoice, own: number, all: number): TokenChoice {
  if (routing.experts !== all) {
    throw new ConfigError(
      `the routing has ${routing.experts} experts, but the bank with its special ones ${all}`,
      "experts",
      routing.experts,
    );
  }
  const kept = (ids: Tensor): Tensor => select(less(ids, own), ids, own);
  const { indices, selected } = routing;
  return { ...routing, experts: own, indices: kept(indices), selected: kept(selected) };
}

/** What special experts make of rows; 0 in rows of the bank. */
function specialRows<Inner>(
  params: SpecialParams<Inner>,
  rows: Rows,
  identity: IdRange | undefined,
  constant: IdRange | undefined,
): Tensor | number {
  const x = identity || constant ? gather(rows) : undefined;
  const row = rows.group.reshape([rows.group.size, 1]);
  const copied = identity && x ? select(isWithin(row, identity), x, 0) : 0;
  if (!constant || !x) return copied;
  const values = constantsOfRows(constantParams(params), constant, x, rows.group);
  return select(isWithin(row, constant), values, copied);
}

function constantParams<Inner>({ gate, constant }: SpecialParams<Inner>): {
  readonly gate: Tensor;
  readonly constant: Tensor;
} {
  if (gate && constant) return { gate, constant };
  throw new ConfigError(
    "this bank has constant experts, but params.gate or params.constant is missing; pass what " +
      "init made",
    "params.constant",
    constant,
  );
}
