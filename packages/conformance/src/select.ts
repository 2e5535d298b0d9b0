import { type Backend, type Capabilities, type DType, ConfigError } from "@moiety/core";
import type { ConformanceCase, Extension, Profile } from "./case.ts";
import { PROFILES } from "./case.ts";
import { excusedFromInvariance } from "./excuse.ts";

/** Whether a profile contains a case. */
function contains(profile: Profile, testCase: ConformanceCase): boolean {
  return PROFILES.indexOf(profile) >= PROFILES.indexOf(smallestProfile(testCase));
}

/** The smallest profile that contains a case. */
export function smallestProfile({ extension, ops }: ConformanceCase): Profile {
  if (extension !== undefined && extension !== "grad") return "full";
  const trains = ops.some((op) => op.identity.kernel === "training");
  return extension === "grad" || trains ? "training" : "inference";
}

/**
 * The cases of a profile whose ids were asked for: by an id, by the beginning of ids, or all when
 * nothing was asked. An id that is a case's own means that case alone.
 * @throws ConfigError for what no case begins with, or what the profile does not contain
 */
export function selectCases(
  cases: readonly ConformanceCase[],
  profile: Profile,
  asked: readonly string[] | undefined,
): readonly ConformanceCase[] {
  if (!PROFILES.includes(profile)) {
    throw new ConfigError(
      `there is no profile "${profile}"; there is ${PROFILES.join(", ")}`,
      "profile",
      profile,
    );
  }
  const inProfile = cases.filter((one) => contains(profile, one));
  if (asked === undefined || asked.length === 0) return inProfile;
  const chosen = new Set(asked.flatMap((text) => matching(cases, inProfile, profile, text)));
  return inProfile.filter((one) => chosen.has(one));
}

function matching(
  cases: readonly ConformanceCase[],
  inProfile: readonly ConformanceCase[],
  profile: Profile,
  text: string,
): readonly ConformanceCase[] {
  const found = (list: readonly ConformanceCase[]): readonly ConformanceCase[] => {
    const exact = list.filter((one) => one.id === text);
    return exact.length > 0 ? exact : list.filter((one) => one.id.startsWith(text));
  };
  const selected = found(inProfile);
  if (selected.length > 0) return selected;
  const [elsewhere] = found(cases);
  throw new ConfigError(
    elsewhere === undefined
      ? `there is no case "${text}", nor one that begins so; --list shows them all`
      : `case ${elsewhere.id} is not in profile ${profile}, but in ${smallestProfile(elsewhere)}`,
    "case",
    text,
  );
}

/** Why a backend is excused from a case; `undefined` where it is not. */
export function excuse(
  testCase: ConformanceCase,
  { capabilities }: Pick<Backend, "capabilities">,
  canLoseDevice: boolean,
): string | undefined {
  const missing = missingOps(testCase, capabilities);
  if (missing.length > 0) return `the manifest has no kernel of ${missing.join(", ")}`;
  const { extension } = testCase;
  const unclaimed = extension && unclaimedExtension(extension, capabilities, canLoseDevice);
  return unclaimed ?? testCase.unsupported?.(capabilities);
}

/** Names of the required kernels that a case needs and the manifest does not claim. */
export function missingOps(testCase: ConformanceCase, { ops }: Capabilities): string[] {
  const names = new Set(testCase.ops.map((op) => op.name));
  return [...names].filter((name) => !ops.includes(name));
}

/** The dtypes that every profile computes with and the manifest does not claim. */
export function missingDTypes({ dtypes }: Capabilities): DType[] {
  const base: readonly DType[] = ["f32", "i32", "u32", "bool"];
  return base.filter((dtype) => !dtypes.includes(dtype));
}

/** The formats that hold codes and scales, and not just narrower floats. */
export function quantisedFormats({ formats }: Capabilities): string[] {
  return formats.filter((format) => format !== "f16" && format !== "bf16");
}

function unclaimedExtension(
  extension: Extension,
  capabilities: Capabilities,
  canLoseDevice: boolean,
): string | undefined {
  switch (extension) {
    case "deterministic":
      if (capabilities.determinism === "bitwise") return undefined;
      return `the manifest's determinism is "${capabilities.determinism}"`;
    case "batch-invariant":
      return excusedFromInvariance(capabilities);
    case "f16":
      return capabilities.dtypes.includes("f16") ? undefined : "the manifest has no f16";
    case "quantised":
      return quantisedFormats(capabilities).length > 0
        ? undefined
        : "the manifest has no quantised formats";
    case "segmented":
      return capabilities.limits.bindingBytes === undefined
        ? "the manifest has no limits.bindingBytes, so nothing is segmented"
        : undefined;
    case "device-loss":
      if (!capabilities.recovers) return "the manifest does not say that it recovers";
      return canLoseDevice ? undefined : "nobody said how to take the device away (loseDevice)";
    default:
      return undefined;
  }
}
