import {
  ConfigError,
  type Tensor,
  gatherRows,
  matmul,
  max,
  oneHot,
  reciprocal,
} from "@moiety/core";
import { floatOf } from "./statistics.ts";
import { type Target, targetTensor } from "./target.ts";

/** A number of devices with as many consecutive experts each, or the device of each expert. */
export type Devices = number | readonly number[];

/** Which device each expert is on. */
export interface DeviceMap {
  /** D. */
  readonly count: number;
  /** The device of each expert, `E` numbers. */
  readonly ofExpert: readonly number[];
  /** The share of experts that each device holds, `D` numbers. */
  readonly shares: readonly number[];
}

/** Refuses devices that make no sense for any number of experts. @throws ConfigError */
export function checkDevices(name: string, devices: Devices): void {
  const refuse = (value: unknown, wanted: string): never => {
    throw new ConfigError(
      `${name}: devices is ${String(value)}, but must be ${wanted}`,
      "devices",
      value,
    );
  };
  if (typeof devices === "number") {
    if (!(Number.isSafeInteger(devices) && devices >= 1)) refuse(devices, "a whole number from 1");
    return;
  }
  if (!Array.isArray(devices) || devices.length === 0) {
    refuse(devices, "a number, or the device of each expert");
  }
  const found = new Set(devices);
  const strange = devices.find((id) => !(Number.isSafeInteger(id) && id >= 0));
  if (strange !== undefined) refuse(strange, "a whole number from 0 for each expert");
  for (let id = 0; id < found.size; id++) {
    if (!found.has(id))
      refuse(devices.join(), `numbered without a gap; device ${id} has no expert`);
  }
}

/** The devices of a routing's experts. @throws ConfigError where they do not fit */
export function deviceMap(name: string, devices: Devices, experts: number): DeviceMap {
  if (typeof devices !== "number" && devices.length !== experts) {
    throw new ConfigError(
      `${name}: devices names ${devices.length} experts, but the routing has ${experts}`,
      "devices",
      devices.length,
    );
  }
  if (typeof devices === "number" && experts % devices !== 0) {
    throw new ConfigError(
      `${name}: ${devices} devices do not divide ${experts} experts; name the device of each`,
      "devices",
      devices,
    );
  }
  const ofExpert =
    typeof devices === "number"
      ? Array.from({ length: experts }, (_, expert) => Math.floor((expert * devices) / experts))
      : devices;
  const count = new Set(ofExpert).size;
  const shares = new Array<number>(count).fill(0);
  for (const id of ofExpert) shares[id] = (shares[id] ?? 0) + 1 / experts;
  return { count, ofExpert, shares };
}

/** Sums values of experts `[…, E]` by device: `[…, D]`. */
export function sumDevices(values: Tensor, map: DeviceMap): Tensor {
  const ids = values.backend.tensor(Int32Array.from(map.ofExpert));
  return matmul(values, oneHot(ids, map.count, floatOf(values)));
}

/** `[T, D]`: 1 where a token's choices `[T, k]` reach a device, in the dtype of `like`. */
export function countDevices(choices: Tensor, map: DeviceMap, like: Tensor): Tensor {
  // One more entry, so that no expert (E) is on no device (D).
  const table = choices.backend.tensor(Int32Array.from([...map.ofExpert, map.count]));
  return max(oneHot(gatherRows(table, choices), map.count, floatOf(like)), [1]);
}

/** 1/q_d `[D]`: the target of devices, summed from that of experts, or `even` where there is none. */
export function inverseShares(
  name: string,
  target: Target | undefined,
  map: DeviceMap,
  even: readonly number[],
  like: Tensor,
): Tensor {
  const dtype = floatOf(like);
  const experts = targetTensor(name, target, map.ofExpert.length, like);
  if (experts === undefined) {
    return like.backend.tensor(
      even.map((share) => 1 / share),
      { shape: [map.count], dtype },
    );
  }
  return reciprocal(sumDevices(experts.reshape([1, experts.size]), map)).reshape([map.count]);
}
