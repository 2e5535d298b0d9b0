import { type Backend, ConfigError } from "@moiety/core";

/** Loaded when they are asked for, so that no command waits for a backend it does not use. */
const makers: Readonly<Record<string, () => Promise<Backend>>> = {
  cpu: async () => (await import("@moiety/backend-cpu")).create(),
};

/** Names that `--backend` takes. */
export const backendNames: readonly string[] = Object.keys(makers);

/** Makes a backend by its name. @throws ConfigError for one that is not there */
export async function createBackend(name: string): Promise<Backend> {
  const make = Object.hasOwn(makers, name) ? makers[name] : undefined;
  if (make) return make();
  throw new ConfigError(
    `there is no backend "${name}"; there is ${backendNames.join(", ")}`,
    "backend",
    name,
  );
}
