import type { Capabilities } from "@moiety/core";

/** Why a backend need not give a row the same bits in every batch. */
export function excusedFromInvariance({
  batchInvariant,
}: Pick<Capabilities, "batchInvariant">): string | undefined {
  return batchInvariant ? undefined : "the manifest is not batchInvariant";
}
