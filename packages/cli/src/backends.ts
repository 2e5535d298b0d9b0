import { type Backend, ConfigError } from "@moiety/core";

/** The module of a backend that is at hand by its name. */
export interface BuiltInModule {
  readonly package: string;
  /** Loaded when it is asked for, so that no command waits for a backend it does not use. */
  load(): Promise<{ readonly default: () => Promise<Backend> }>;
}

/** The backends that `--backend` knows by name. */
export const builtInModules: Readonly<Record<string, BuiltInModule>> = {
  cpu: { package: "@moiety/backend-cpu", load: () => import("@moiety/backend-cpu") },
  wasm: { package: "@moiety/backend-wasm", load: () => import("@moiety/backend-wasm") },
  webgpu: { package: "@moiety/backend-webgpu", load: () => import("@moiety/backend-webgpu") },
};

/** Names that `--backend` takes. */
export const backendNames: readonly string[] = Object.keys(builtInModules);

/** Makes a backend by its name. @throws ConfigError for one that is not there */
export async function createBackend(name: string): Promise<Backend> {
  const module = Object.hasOwn(builtInModules, name) ? builtInModules[name] : undefined;
  if (module) return (await module.load()).default();
  throw new ConfigError(
    `there is no backend "${name}"; there is ${backendNames.join(", ")}`,
    "backend",
    name,
  );
}
