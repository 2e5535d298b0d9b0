import { ConfigError } from "@moiety/core";

/**
 * Where one path of a parameter tree stands in a checkpoint. Rules are plain data: a model family is
 * a list of them.
 *
 * `{layer}` in `path` and `names` repeats the rule for every layer. Several `names` are concatenated
 * along axis 0. `{expert}` in `names` stacks the experts on a new leading axis: with the names
 * `…experts.{expert}.gate_proj.weight` and `…experts.{expert}.up_proj.weight`, each `[I, H]`, the
 * path holds `[E, 2·I, H]`. Names without `{expert}` that hold all experts at once are `stacked`.
 */
export interface TensorRule {
  /** Path in the parameter tree, keys joined by dots, such as `layers.{layer}.experts.gateUp`. */
  readonly path: string;
  /** Names in the checkpoint, in the order in which their rows follow. */
  readonly names: readonly string[];
  /** The layers that the rule is for; all of them unless given. */
  readonly layers?: readonly number[] | undefined;
  /** Rows of each name along axis 0; equal shares unless given. */
  readonly split?: readonly number[] | undefined;
  /** Whether the checkpoint holds the last two axes the other way round. */
  readonly transpose?: boolean | undefined;
  /**
   * Whether each name holds all experts, on axis 0. Several names are then concatenated behind it,
   * expert by expert: `[E, I, H]` and `[E, I, H]` make `[E, 2·I, H]`.
   */
  readonly stacked?: boolean | undefined;
  /**
   * How the checkpoint counts axes: `joined` holds the first two as one (`[E·I, H]`), `leadingOne`
   * has one of length 1 before the others. The same unless given.
   */
  readonly axes?: "joined" | "leadingOne" | undefined;
  /** Whether a checkpoint may lack it. */
  readonly optional?: boolean | undefined;
  /**
   * How the checkpoint may hold its tensors where not as plain values; the tensors that are there say
   * which of both it is.
   */
  readonly storage?: TensorStorage | undefined;
}

/**
 * A way to hold a tensor as codes and scales.
 *
 * - `mxfp4`: `NAME_blocks [..., R, C/32, 16]` and `NAME_scales [..., R, C/32]`, both U8, in the place of
 *   `NAME [..., C, R]`: in a byte the codes (F4 E2M1) of two values, the earlier in the low half; a scale
 *   (E8M0) for 32 of them. The layout of gpt-oss, transposed as `convert_moe_packed_tensors` of Hugging
 *   Face transformers does.
 * - `scaledBlocks`: `NAME [..., R, C]` in F8 and `NAME_scale_inv [..., ⌈R/r⌉, ⌈C/c⌉]` in floats, one
 *   factor for each block of `blockSize` r × c. The layout of DeepSeek-V3.
 */
export type TensorStorage =
  | { readonly kind: "mxfp4" }
  | { readonly kind: "scaledBlocks"; readonly blockSize: readonly [rows: number, columns: number] };

/** What the placeholders of rules stand for. */
export interface RuleSizes {
  /** The layers, by their numbers in the checkpoint. */
  readonly layer?: readonly number[] | undefined;
  /** Number of experts in a layer. */
  readonly expert?: number | undefined;
}

/** A rule for one layer: the path, and its names for every expert. */
export interface ExpandedRule {
  readonly rule: TensorRule;
  /** The path, its placeholders filled in. */
  readonly path: string;
  /** Whether the names are stacked on a leading axis. */
  readonly isStacked: boolean;
  /** The names of each expert; a single list where they are not stacked. */
  readonly names: readonly (readonly string[])[];
}

/** Fills the placeholders of rules in. Throws {@link ConfigError} for a rule that makes no sense. */
export function expandRules(rules: readonly TensorRule[], sizes: RuleSizes): ExpandedRule[] {
  return rules.flatMap((rule) => {
    checkRule(rule);
    if (!rule.path.includes("{layer}")) return [expand(rule, undefined, sizes)];
    const layers = sizes.layer;
    if (layers === undefined) throw noSize(rule, "layer");
    const stray = rule.layers?.find((layer) => !layers.includes(layer));
    if (stray !== undefined) {
      throw new ConfigError(
        `the rule for ${rule.path} is for layer ${stray}; the layers are ${layers.join(", ")}`,
        "layers",
        rule.layers,
      );
    }
    return (rule.layers ?? layers).map((layer) => expand(rule, layer, sizes));
  });
}

function expand(rule: TensorRule, layer: number | undefined, sizes: RuleSizes): ExpandedRule {
  const inLayer = (text: string): string => text.replaceAll("{layer}", String(layer));
  const names = rule.names.map(inLayer);
  const path = inLayer(rule.path);
  const isStacked = names.some((name) => name.includes("{expert}"));
  if (!isStacked) return { rule, path, isStacked, names: [names] };
  const { expert: experts } = sizes;
  if (experts === undefined || !Number.isInteger(experts) || experts < 1) {
    throw noSize(rule, "expert");
  }
  const ofExpert = (expert: number): string[] =>
    names.map((name) => name.replaceAll("{expert}", String(expert)));
  return { rule, path, isStacked, names: Array.from({ length: experts }, (_, e) => ofExpert(e)) };
}

function checkRule(rule: TensorRule): void {
  const { path, names, split, stacked, axes } = rule;
  const refuse = (why: string): never => {
    throw new ConfigError(`the rule for ${path} ${why}`, "rules", rule);
  };
  if (names.length === 0) refuse("has no names");
  const inPath = placeholdersOf(path);
  const [first = ""] = names;
  for (const text of [path, ...names]) {
    const unknown = placeholdersOf(text).find((key) => key !== "layer" && key !== "expert");
    if (unknown !== undefined) refuse(`has {${unknown}}; there are {layer} and {expert}`);
  }
  if (inPath.includes("expert")) refuse("has {expert} in its path; it belongs into the names");
  for (const name of names) {
    if (placeholdersOf(name).includes("layer") !== inPath.includes("layer")) {
      refuse("must have {layer} both in its path and in all its names, or nowhere");
    }
    if (name.includes("{expert}") !== first.includes("{expert}")) {
      refuse("must have {expert} in all its names, or in none");
    }
  }
  if (!isStorage(rule.storage)) refuse("has a storage that makes no sense");
  if (stacked && first.includes("{expert}")) refuse("has names for each expert, and stacked ones");
  if (axes !== undefined && axes !== "joined" && axes !== "leadingOne") {
    refuse(`has axes ${String(axes)}; there are joined and leadingOne`);
  }
  if (split !== undefined && split.length !== names.length) {
    refuse(`has ${names.length} names but ${split.length} sizes in split`);
  }
}

function isStorage(storage: TensorStorage | undefined): boolean {
  if (storage === undefined || storage.kind === "mxfp4") return true;
  if (storage.kind !== "scaledBlocks" || storage.blockSize.length !== 2) return false;
  return storage.blockSize.every((size) => Number.isSafeInteger(size) && size > 0);
}

function placeholdersOf(text: string): string[] {
  return [...text.matchAll(/\{([^}]*)\}/g)].map((match) => match[1] ?? "");
}

function noSize(rule: TensorRule, key: "layer" | "expert"): ConfigError {
  const what = key === "layer" ? "the numbers of the layers" : "the number of experts, at least 1";
  return new ConfigError(
    `the rule for ${rule.path} has {${key}}; give sizes.${key}, ${what}`,
    key,
    undefined,
  );
}
