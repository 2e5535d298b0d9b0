import type { JsonValue } from "@moiety/checkpoints";
import { type ConfigReader, unbuilt } from "./config-reader.ts";
import type { AttentionBase, RopeScaling } from "./decoder/attention-config.ts";
import { yarnFactor } from "./decoder/rotary.ts";

/** Rotary positions as a configuration describes them. */
export type RopeConfig = Pick<AttentionBase, "ropeTheta" | "ropeScaling">;

/** Reads one way of stretching positions, from its own keys and those of the model. */
export type RopeReader = (rope: ConfigReader, config: ConfigReader) => RopeScaling | undefined;

/** A type of rotary positions: the keys that it knows, and how they are read. */
export interface RopeType {
  readonly keys: readonly string[];
  readonly read: RopeReader;
}

/** Key under which release 4 has what stretches positions, and that of all of it in release 5. */
const SECTIONS = ["rope_parameters", "rope_scaling"] as const;

/** Keys that any type may have; those of release 5 are read for all types. */
const COMMON = ["rope_type", "type", "rope_theta"];

/** Turns of a pair between which YaRN blends, where nothing is said. */
const BETA_FAST = 32;
const BETA_SLOW = 1;

/** The types of `rope_type` that any family may have. */
const ropeTypes: Readonly<Record<string, RopeType>> = {
  default: { keys: [], read: () => undefined },
  linear: { keys: ["factor"], read: (rope) => ({ kind: "linear", factor: rope.number("factor") }) },
  dynamic: {
    keys: ["factor"],
    read: (rope, config) => ({
      kind: "dynamic",
      factor: rope.number("factor"),
      originalMaxPositionEmbeddings: config.count("max_position_embeddings"),
    }),
  },
  llama3: {
    keys: ["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"],
    read: (rope) => ({
      kind: "llama3",
      factor: rope.number("factor"),
      lowFreqFactor: rope.number("low_freq_factor"),
      highFreqFactor: rope.number("high_freq_factor"),
      originalMaxPositionEmbeddings: rope.count("original_max_position_embeddings"),
    }),
  },
  yarn: {
    keys: [
      "attention_factor",
      "beta_fast",
      "beta_slow",
      "factor",
      "mscale",
      "mscale_all_dim",
      "original_max_position_embeddings",
      "truncate",
    ],
    read: yarn,
  },
};

/**
 * Reads θ and how positions are stretched, from `rope_theta` and `rope_scaling` or from
 * `rope_parameters`. `own` are types that the family alone has, or has in its own way,
 * `beside` keys that it reads itself.
 * @throws UnsupportedError for a type that is not built, or a key that it does not know
 */
export function readRope(
  config: ConfigReader,
  own: Readonly<Record<string, RopeType>> = {},
  beside: readonly string[] = [],
): RopeConfig {
  const section = SECTIONS.find((key) => config.value(key) !== null);
  const ropeTheta = config.number("rope_theta");
  if (section === undefined) return { ropeTheta };
  const rope = config.nested(section);
  const types = { ...ropeTypes, ...own };
  const name = typeOf(rope);
  const type = typeof name === "string" && Object.hasOwn(types, name) ? types[name] : undefined;
  if (!type) throw unbuilt(`${section}.rope_type`, name, Object.keys(types));
  const known = [...COMMON, ...beside, ...type.keys];
  const stranger = rope.keys().find((key) => !known.includes(key) && !isWhole(rope, key));
  if (stranger !== undefined) {
    throw unbuilt(`${section}.${stranger}`, rope.value(stranger), []);
  }
  return {
    ropeTheta: rope.numberIfAny("rope_theta") ?? ropeTheta,
    ropeScaling: type.read(rope, config),
  };
}

/** Whether a key only says that all of a head is rotated. */
function isWhole(rope: ConfigReader, key: string): boolean {
  return key === "partial_rotary_factor" && rope.value(key) === 1;
}

function typeOf(rope: ConfigReader): JsonValue {
  return rope.value("rope_type") ?? rope.value("type") ?? "default";
}

function yarn(rope: ConfigReader, config: ConfigReader): RopeScaling {
  const factor = rope.number("factor");
  const mscale = rope.numberIfAny("mscale") ?? 0;
  const allDim = rope.numberIfAny("mscale_all_dim") ?? 0;
  const isWeighed = mscale !== 0 && allDim !== 0;
  return {
    kind: "yarn",
    factor,
    originalMaxPositionEmbeddings: rope.countOr(
      "original_max_position_embeddings",
      config.count("max_position_embeddings"),
    ),
    betaFast: rope.numberIfAny("beta_fast") ?? BETA_FAST,
    betaSlow: rope.numberIfAny("beta_slow") ?? BETA_SLOW,
    truncate: rope.value("truncate") === null || rope.flag("truncate"),
    attentionFactor:
      rope.numberIfAny("attention_factor") ??
      (isWeighed ? yarnFactor(factor, mscale) / yarnFactor(factor, allDim) : yarnFactor(factor)),
  };
}
