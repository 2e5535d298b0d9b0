import { zeros } from "@moiety/core";
import type { Gate } from "./gate.ts";
import { requireWhole } from "./option.ts";

/** No parameters. */
export type NoParams = Readonly<Record<never, never>>;

/** A gate that prefers nothing: logits 0 `[T, E]`, without parameters. @throws ConfigError */
export function flatGate({
  experts,
  inputSize,
}: {
  readonly experts: number;
  readonly inputSize: number;
}): Gate<NoParams> {
  requireWhole("experts", experts);
  return {
    experts,
    inputSize,
    shapes: {},
    init: () => ({}),
    forward: (_, x) => ({
      logits: zeros(x.backend, [x.shape[0] ?? 0, experts], x.dtype === "f64" ? "f64" : "f32"),
    }),
  };
}
