import { ConfigError, type RoutingLoss } from "@moiety/core";
import {
  huggingFaceBalance,
  huggingFaceSwitchBalance,
  importanceCv,
  switchBalance,
  zLoss,
} from "@moiety/losses";
import type { LossConfig } from "./config.ts";

/** The loss that data describes. @throws ConfigError for one that is not known */
export function routingLoss(config: LossConfig): RoutingLoss {
  switch (config.kind) {
    case "huggingFaceBalance":
      return huggingFaceBalance(config);
    case "huggingFaceSwitchBalance":
      return huggingFaceSwitchBalance(config);
    case "importanceCv":
      return importanceCv(config);
    case "switchBalance":
      return switchBalance(config);
    case "zLoss":
      return zLoss(config);
    default: {
      const { kind } = config as { readonly kind?: unknown };
      throw new ConfigError(`there is no loss ${String(kind)}`, "losses.kind", kind);
    }
  }
}
