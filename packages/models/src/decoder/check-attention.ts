import type {
  AttentionConfig,
  GroupedAttentionConfig,
  LatentAttentionConfig,
  RopeScaling,
} from "./attention-config.ts";
import { rotaryWidth } from "./rotary.ts";

/** Throws a `ConfigError` for a key, its value and what it must be. */
export type Refuse = (key: string, value: unknown, wanted: string) => never;

/** Refuses what is no whole number from 1, by key. */
export function requireCounts(sizes: Readonly<Record<string, unknown>>, refuse: Refuse): void {
  for (const [key, size] of Object.entries(sizes)) {
    const isCount = Number.isSafeInteger(size) && (size as number) >= 1;
    if (!isCount) refuse(key, size, "a whole number from 1");
  }
}

/** Refuses attention that makes no sense, by key. */
export function checkAttention(attention: AttentionConfig, refuse: Refuse): void {
  const { kind, numAttentionHeads, ropeTheta, scale = 1, window = 1, dropout } = attention;
  requireCounts({ numAttentionHeads, window }, refuse);
  if (kind === "latent") checkLatent(attention, refuse);
  else if (kind === undefined || kind === "grouped") checkGrouped(attention, refuse);
  else refuse("attention.kind", kind, "grouped or latent");
  if (!(scale > 0)) refuse("scale", scale, "above 0");
  if (!(ropeTheta > 0)) refuse("ropeTheta", ropeTheta, "above 0");
  if (!(dropout >= 0 && dropout < 1)) refuse("dropout", dropout, "from 0 to below 1");
  if (attention.ropeScaling) checkScaling(attention.ropeScaling, rotaryWidth(attention), refuse);
}

function checkGrouped(attention: GroupedAttentionConfig, refuse: Refuse): void {
  const { numAttentionHeads, numKeyValueHeads, headDim, rotaryDim = headDim, clip } = attention;
  requireCounts({ numKeyValueHeads, headDim }, refuse);
  if (numAttentionHeads % numKeyValueHeads !== 0) {
    refuse("numKeyValueHeads", numKeyValueHeads, `a divisor of the ${numAttentionHeads} heads`);
  }
  if (headDim % 2 !== 0) refuse("headDim", headDim, "even, for rotary positions");
  if (!(rotaryDim % 2 === 0 && rotaryDim >= 0 && rotaryDim <= headDim)) {
    refuse("rotaryDim", rotaryDim, `even and at most the head's ${headDim}`);
  }
  if (clip !== undefined && !(clip > 0)) refuse("clip", clip, "above 0");
}

function checkLatent(attention: LatentAttentionConfig, refuse: Refuse): void {
  const { qLoraRank = 1, kvLoraRank, qkNopeHeadDim, qkRopeHeadDim, vHeadDim } = attention;
  requireCounts({ qLoraRank, kvLoraRank, qkNopeHeadDim, qkRopeHeadDim, vHeadDim }, refuse);
  if (qkRopeHeadDim % 2 !== 0) refuse("qkRopeHeadDim", qkRopeHeadDim, "even, for rotary positions");
  const { latentNormEps } = attention;
  if (!(latentNormEps >= 0)) refuse("latentNormEps", latentNormEps, "at least 0");
}

function checkScaling(scaling: RopeScaling, width: number, refuse: Refuse): void {
  for (const [key, value] of Object.entries(scaling)) {
    if (typeof value !== "number") continue;
    if (!(value > 0 && Number.isFinite(value))) refuse(`ropeScaling.${key}`, value, "above 0");
  }
  // The reference's exponent divides by the width less 2.
  if (scaling.kind === "dynamic" && width <= 2) refuse("rotaryDim", width, "above 2");
  if (scaling.kind !== "longrope") return;
  for (const name of ["short", "long"] as const) {
    const { factors, scale } = scaling[name];
    const key = `ropeScaling.${name}`;
    if (factors.length !== width / 2) {
      refuse(`${key}.factors`, factors.length, `${width / 2} factors, one for each pair`);
    }
    if (![scale, ...factors].every((each) => each > 0)) refuse(key, factors, "above 0");
  }
}
