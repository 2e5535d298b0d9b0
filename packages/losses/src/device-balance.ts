import {
  ConfigError,
  type RoutingLoss,
  type Tensor,
  type TokenChoice,
  mul,
  sum,
} from "@moiety/core";
import type { ChoiceBalanceOptions } from "./choice-balance.ts";
import {
  type DeviceMap,
  type Devices,
  checkDevices,
  countDevices,
  deviceMap,
  inverseShares,
  sumDevices,
} from "./devices.ts";
import { defineLoss, meanOfLayers, requireOption, requireTokenChoice } from "./options.ts";
import { choicesOf, probabilitiesOf } from "./product.ts";
import {
  type Stretches,
  countChoices,
  countTokens,
  meanBy,
  meanOfStretches,
  stretchesOf,
  sumTokens,
} from "./statistics.ts";

/** Options of {@link deepseekDeviceBalance}: `per` sequence and `counts` selected unless given. */
export interface DeviceBalanceOptions extends ChoiceBalanceOptions {
  /** D devices with E/D consecutive experts each, or the device (from 0) of each expert. */
  readonly devices: Devices;
}

/** Options of {@link deepseekCommunicationBalance}. */
export interface CommunicationBalanceOptions extends DeviceBalanceOptions {
  /** M: to how many devices a token may go. The smaller of k and D unless given. */
  readonly maxDevices?: number | undefined;
}

/**
 * DeepSeek's device-level loss: Σ_d f'_d · P'_d over devices d, with f'_d the mean over the device's
 * experts of f_e = E/(k·T) · tokens that chose e, and P'_d the sum of their mean scores. 1 when each
 * device's share of the load is its share of the experts. Groups other than devices do as well. Each
 * sequence for itself unless `per: "batch"`; the mean over layers; padding is left out. A target is
 * given for experts; a device's is the sum of those on it.
 *
 * Papers: Dai et al., "DeepSeekMoE" (2024), eq. 15–17; DeepSeek-AI, "DeepSeek-V2" (2024), eq. 26–28.
 * @throws ConfigError where devices do not fit the experts
 */
export function deepseekDeviceBalance(options: DeviceBalanceOptions): RoutingLoss {
  return deviceLoss("deepseekDeviceBalance", options, ({ chosen, routing, map, stretches }) => ({
    counts: sumDevices(countChoices(chosen, routing, stretches), map),
    perToken: chosen.shape[1] ?? 0,
    even: map.shares,
  }));
}

/**
 * DeepSeek-V2's communication loss: Σ_d f''_d · P''_d over devices d, with f''_d = D/(M·T) · tokens
 * that are sent to device d (once, however many of its experts they chose), and P''_d the sum of the
 * mean scores of its experts. 1 when each token goes to M devices and each device gets as many tokens.
 * Otherwise as {@link deepseekDeviceBalance}.
 *
 * Paper: DeepSeek-AI, "DeepSeek-V2" (2024), eq. 29–31.
 * @throws ConfigError where devices do not fit the experts
 */
export function deepseekCommunicationBalance(options: CommunicationBalanceOptions): RoutingLoss {
  const name = "deepseekCommunicationBalance";
  const { maxDevices } = options;
  const refuse = (wanted: string): never => {
    throw new ConfigError(
      `${name}: maxDevices is ${String(maxDevices)}, but must be ${wanted}`,
      "maxDevices",
      maxDevices,
    );
  };
  if (maxDevices !== undefined && !(Number.isSafeInteger(maxDevices) && maxDevices >= 1)) {
    refuse("a whole number from 1");
  }
  return deviceLoss(name, options, ({ chosen, routing, map, stretches }) => {
    const { count } = map;
    if (maxDevices !== undefined && maxDevices > count) refuse(`at most the ${count} devices`);
    return {
      counts: sumTokens(countDevices(chosen, map, routing.logits), routing, stretches),
      perToken: maxDevices ?? Math.min(chosen.shape[1] ?? 0, count),
      even: new Array<number>(count).fill(1 / count),
    };
  });
}

/** What a device loss counts, and in which places. */
interface DeviceCall {
  readonly routing: TokenChoice;
  /** `[T, k]`. */
  readonly chosen: Tensor;
  readonly map: DeviceMap;
  readonly stretches: Stretches;
}

/** What was counted. */
interface DeviceCounts {
  /** `[S, D]`. */
  readonly counts: Tensor;
  /** How often one token counts in all. */
  readonly perToken: number;
  /** Shares of the devices when balanced, without a target. */
  readonly even: readonly number[];
}

/** Makes a loss Σ_d f_d · P_d / q_d over devices, averaged over stretches and layers. */
function deviceLoss(
  name: string,
  options: DeviceBalanceOptions,
  count: (call: DeviceCall) => DeviceCounts,
): RoutingLoss {
  const { devices, per = "sequence", counts = "selected", probabilities = "scores" } = options;
  requireOption(name, "per", per, ["batch", "sequence"]);
  requireOption(name, "counts", counts, ["selected", "plain"]);
  requireOption(name, "probabilities", probabilities, ["scores", "softmax"]);
  checkDevices(name, devices);
  return defineLoss(name, options, (routings) =>
    meanOfLayers(routings, (layer) => {
      const routing = requireTokenChoice(name, layer);
      const map = deviceMap(name, devices, routing.experts);
      const stretches = stretchesOf(routing, per);
      const tokens = countTokens(routing, stretches);
      const chosen = choicesOf(routing, counts);
      const counted = count({ routing, chosen, map, stretches });
      const share = meanBy(counted.counts, mul(tokens, counted.perToken));
      const p = sumTokens(probabilitiesOf(routing, probabilities), routing, stretches);
      const mean = sumDevices(meanBy(p, tokens), map);
      const inverse = inverseShares(name, options.target, map, counted.even, mean);
      return meanOfStretches(sum(mul(mul(share, mean), inverse), [1]), tokens);
    }),
  );
}
