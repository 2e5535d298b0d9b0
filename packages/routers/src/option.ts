import { ConfigError } from "@moiety/core";

/** The error of an option that makes no sense. */
export function refuseOption(key: string, value: unknown, wanted: string): ConfigError {
  return new ConfigError(`router: ${key} is ${String(value)}, but must be ${wanted}`, key, value);
}

/** Refuses what is no whole number from `least`. @throws ConfigError */
export function requireWhole(key: string, value: number, least = 1): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  throw refuseOption(key, value, `a whole number from ${least}`);
}

/** Refuses what is no finite number above 0. @throws ConfigError */
export function requirePositive(key: string, value: number): void {
  if (value > 0 && Number.isFinite(value)) return;
  throw refuseOption(key, value, "a finite number above 0");
}

/** Refuses what is no finite number from 0. @throws ConfigError */
export function requireNotNegative(key: string, value: number): void {
  if (value >= 0 && Number.isFinite(value)) return;
  throw refuseOption(key, value, "a finite number from 0");
}
