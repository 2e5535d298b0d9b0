import { type Backend, ConfigError, fill } from "@moiety/core";

const METHODS: readonly (keyof Backend)[] = [
  "tensor",
  "upload",
  "scope",
  "sync",
  "statistics",
  "record",
  "dispose",
];

/**
 * The value as a backend of this copy of `@moiety/core`.
 * @throws ConfigError for anything else, and for a backend that another copy of core made
 */
export function requireBackend(value: unknown): Backend {
  const described = value === null ? "null" : typeof value;
  if (typeof value !== "object" || value === null || "then" in value) {
    const what = typeof value === "object" && value !== null ? "a promise" : described;
    throw new ConfigError(`create() gave ${what}, not a backend`, "backend", value);
  }
  const members = value as Readonly<Record<string, unknown>>;
  const missing = METHODS.filter((name) => typeof members[name] !== "function");
  if (missing.length > 0) {
    throw new ConfigError(
      `create() gave an object without ${missing.join(", ")}, not a backend; ` +
        "return what defineBackend(driver) makes",
      "backend",
      value,
    );
  }
  if (isForeign(value as Backend)) {
    throw new ConfigError(
      "the backend was made by another copy of @moiety/core than the kit's; install one version " +
        "for both, so that the package manager keeps a single copy",
      "backend",
      value,
    );
  }
  return value as Backend;
}

/** Asks an op that refuses its arguments: it looks at the backend before it looks at them. */
function isForeign(backend: Backend): boolean {
  try {
    fill(backend, { shape: [-1], value: 0, dtype: "f32" });
  } catch (error) {
    return error instanceof ConfigError && error.key === "backend";
  }
  return false;
}
