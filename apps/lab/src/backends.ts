import type { Backend } from "@moiety/core";
import { ConfigError } from "@moiety/core";

const makers: Readonly<Record<string, () => Promise<Backend>>> = {
  cpu: async () => {
    const { default: create } = await import("@moiety/backend-cpu");
    return create();
  },
  webgpu: async () => {
    const { default: create } = await import("@moiety/backend-webgpu");
    return create();
  },
};

/** Names that `--backend` takes. */
export const backendNames: readonly string[] = Object.keys(makers);

/**
 * Makes a backend by its name.
 *
 * @throws ConfigError for a name that is not in `backendNames`.
 * @throws UnsupportedError where the machine lacks what the backend needs.
 */
export async function createBackend(name: string): Promise<Backend> {
  const make = Object.hasOwn(makers, name) ? makers[name] : undefined;
  if (make !== undefined) return make();
  throw new ConfigError(
    `backend ${name} is unknown: there is ${backendNames.join(", ")}`,
    "backend",
    name,
  );
}

/** What does a backend's work, in one line, where the backend tells. */
export function workerOf({ name, capabilities: { details } }: Backend): string | undefined {
  if (details?.["adapter"] === undefined) return undefined;
  const software = details["software"] === true ? " (software: no GPU does the work)" : "";
  return `${name} adapter: ${details["adapter"]}${software}`;
}
