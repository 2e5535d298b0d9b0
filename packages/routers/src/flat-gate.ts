import { zeros } from "@moiety/core";
import { type Gate, refuseOption } from "./gate.ts";

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
  if (!Number.isSafeInteger(experts) || experts < 1) {
    throw refuseOption("experts", experts, "a whole number from 1");
  }
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
