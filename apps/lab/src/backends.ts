import type { Backend } from "@moiety/core";
import { ConfigError } from "@moiety/core";

const makers: Readonly<Record<string, () => Promise<Backend>>> = {
  cpu: async () => {
    const { default: create } = await import("@moiety/backend-cpu");
    return create();
  },
};

/** Names that `--backend` takes. */
export const backendNames: readonly string[] = Object.keys(makers);

/**
 * Makes a backend by its name.
 *
 * @throws ConfigError for a name that is not in `backendNames`.
 */
export async function createBackend(name: string): Promise<Backend> {
  const make = makers[name];
  if (make !== undefined) return make();
  throw new ConfigError(
    `backend ${name} is unknown: there is ${backendNames.join(", ")}`,
    "backend",
    name,
  );
}
