import { ConfigError, type RandomKey, splitKey } from "@moiety/core";

/** Keys of the draws that one routing makes. */
export interface DrawKeys {
  readonly jitter: RandomKey;
  readonly noise: RandomKey;
  readonly capacity: RandomKey;
  /** For own stages. */
  readonly stages: RandomKey;
}

/** The keys of one call's draws. @throws ConfigError where the key is not two u32 */
export function drawKeys(key: RandomKey | undefined): DrawKeys | undefined {
  if (key === undefined) return undefined;
  checkKey("context.key", key);
  const [jitter = key, noise = key, capacity = key, stages = key] = splitKey(key, 4);
  return { jitter, noise, capacity, stages };
}

/** Refuses what is not two u32. @throws ConfigError */
export function checkKey(name: string, key: RandomKey): void {
  const isKey = Array.isArray(key) && key.length === 2 && key.every((word) => word >>> 0 === word);
  if (isKey) return;
  throw new ConfigError(`${name} must be two u32; make it with randomKey(seed)`, name, key);
}

/** The key, or keys, of a draw. @throws ConfigError where the call has none */
export function requireKey<Key>(key: Key | undefined, what: string): Key {
  if (key !== undefined) return key;
  throw new ConfigError(
    `the router's ${what} needs context.key; derive one for each step with foldIn(key, step)`,
    "context.key",
    key,
  );
}
