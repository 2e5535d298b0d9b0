import type { JsonObject, JsonValue, TensorRule } from "@moiety/checkpoints";
import type { ConfigReader } from "./config-reader.ts";
import type { AttentionConfig } from "./decoder/attention-config.ts";
import type {
  DecoderConfig,
  DecoderScales,
  FfnConfig,
  LossConfig,
  MoeConfig,
} from "./decoder/config.ts";

/** Keys of which only some values are built; absent and null always are. `undefined`: all are. */
export type SupportedValues = Readonly<Record<string, readonly JsonValue[] | undefined>>;

/** A loss with the name that the family's code gives it, such as `load_balancing_loss`. */
export type FamilyLoss = LossConfig & { readonly name: string };

/** The Mixture-of-Experts block of a family. */
export interface FamilyBlock {
  /** Key of the block's width H; `hidden_size` unless given. */
  readonly width?: string | undefined;
  readonly supported?: SupportedValues | undefined;
  /** Reads the parts of a layer's block. */
  moe(config: ConfigReader, layer: number): MoeConfig;
  /** Reads the losses as the family's code computes them. */
  losses(config: ConfigReader): readonly FamilyLoss[];
  /**
   * Where the block's leaves (`router.weight`, `experts.gateUp`, `shared.ffn.down`,
   * `state.router.selectionBias`, …) stand in its own state dict.
   */
  readonly tensors: readonly TensorRule[];
  /**
   * What transformers 5 calls in memory what it reads from several tensors of a checkpoint: rules in
   * the place of those with the same path. Its own files keep the checkpoint's names.
   */
  readonly fused?: readonly TensorRule[] | undefined;
  /** What stands before those names in a whole checkpoint, such as `model.layers.{layer}.mlp.`. */
  readonly prefix: string;
}

/** How the whole models of a family are put together around their blocks. */
export interface FamilyDecoder {
  /** Class name under `architectures`. */
  readonly architecture: string;
  readonly supported?: SupportedValues | undefined;
  /** Reads the attention of the layers. */
  attention(config: ConfigReader): AttentionConfig;
  /** Reads how many keys a query of a layer sees, where layers differ in it. */
  window?(config: ConfigReader, layer: number): number | undefined;
  /** What the norms are, and whether the output projection has a bias. RMSNorm, and none. */
  norms?(config: ConfigReader): Pick<DecoderConfig, "norm" | "normPosition" | "headBias">;
  /** Reads by what the model scales what runs through it. By nothing unless given. */
  scales?(config: ConfigReader): DecoderScales;
  /** Whether a layer has experts. All have unless given. */
  sparse?(config: ConfigReader, layer: number): boolean;
  /** Reads the network of the layers without experts. */
  dense(config: ConfigReader): FfnConfig;
  /** Reads the losses of whole models, where they are not those that the block's code computes. */
  losses?(config: ConfigReader): readonly FamilyLoss[];
  /** Where everything outside the blocks stands in a checkpoint. */
  readonly tensors: readonly TensorRule[];
  /** Tensors that a checkpoint may hold and nobody needs. */
  readonly ignore: readonly string[];
  /**
   * Key of how many layers a checkpoint may hold behind the last, which predict tokens after the next
   * and which nobody needs, either. None unless given.
   */
  readonly nextLayers?: string | undefined;
  /** Keys whose numbers Python holds as floats. */
  readonly floats: readonly string[];
  /** Values that a new model's configuration spells out, where the class would work them out. */
  spelledOut?(config: ConfigReader): JsonObject;
}

/**
 * A family of models as data: how its `config.json` is read, and what its tensors are called. Names
 * and defaults are those of Hugging Face transformers.
 */
export interface Family {
  /** `model_type` in `config.json`. */
  readonly modelType: string;
  /** What its configuration class assumes for keys that are not there. */
  readonly defaults: JsonObject;
  /** Key under which the language model's own keys stand, where there are others: `text_config`. */
  readonly section?: string | undefined;
  /** Other names of keys that its files may have, each with the key that it stands for. */
  readonly aliases?: Readonly<Record<string, string>> | undefined;
  readonly block: FamilyBlock;
  /** Absent where only the block is built. */
  readonly decoder?: FamilyDecoder | undefined;
}
