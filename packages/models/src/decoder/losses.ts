import { ConfigError, type RoutingLoss } from "@moiety/core";
import {
  type BalanceOptions,
  type ChoiceBalanceOptions,
  type CommunicationBalanceOptions,
  type DeepspeedBalanceOptions,
  type DeviceBalanceOptions,
  type EntropyLossOptions,
  type HuggingFaceBalanceOptions,
  type ImportanceCvOptions,
  type LoadCvOptions,
  type LossOptions,
  type MutualInformationOptions,
  type ReluSparsityOptions,
  type StMoeBalanceOptions,
  type SwitchBalanceOptions,
  type TokenEntropyLossOptions,
  deepseekCommunicationBalance,
  deepseekDeviceBalance,
  deepseekExpertBalance,
  deepspeedBalance,
  dogeBalance,
  entropyLoss,
  flaxformerBalance,
  gshardBalance,
  huggingFaceBalance,
  huggingFaceSwitchBalance,
  importanceCv,
  loadCv,
  megablocksBalance,
  megatronBalance,
  mutualInformation,
  nllbBalance,
  reluSparsity,
  sequenceBalance,
  stMoeBalance,
  switchBalance,
  tokenEntropyLoss,
  zLoss,
} from "@moiety/losses";
import type { LossConfig } from "./config.ts";

/**
 * Options of the losses that a configuration may name, by their names. Left out are those that need
 * what only a step of training knows (rewards, counts of its other micro-batches), and `vmoeLosses`,
 * which is the two losses `importanceCv` and `loadCv`.
 */
export interface LossOptionsByKind {
  readonly deepseekCommunicationBalance: CommunicationBalanceOptions;
  readonly deepseekDeviceBalance: DeviceBalanceOptions;
  readonly deepseekExpertBalance: ChoiceBalanceOptions;
  readonly deepspeedBalance: DeepspeedBalanceOptions;
  readonly dogeBalance: LossOptions;
  readonly entropyLoss: EntropyLossOptions;
  readonly flaxformerBalance: ChoiceBalanceOptions;
  readonly gshardBalance: ChoiceBalanceOptions;
  readonly huggingFaceBalance: HuggingFaceBalanceOptions;
  readonly huggingFaceSwitchBalance: BalanceOptions;
  readonly importanceCv: ImportanceCvOptions;
  readonly loadCv: LoadCvOptions;
  readonly megablocksBalance: ChoiceBalanceOptions;
  readonly megatronBalance: ChoiceBalanceOptions;
  readonly mutualInformation: MutualInformationOptions;
  readonly nllbBalance: BalanceOptions;
  readonly reluSparsity: ReluSparsityOptions;
  readonly sequenceBalance: ChoiceBalanceOptions;
  readonly stMoeBalance: StMoeBalanceOptions;
  readonly switchBalance: SwitchBalanceOptions;
  readonly tokenEntropyLoss: TokenEntropyLossOptions;
  readonly zLoss: LossOptions;
}

const makers: {
  readonly [Kind in keyof LossOptionsByKind]: (options: LossOptionsByKind[Kind]) => RoutingLoss;
} = {
  deepseekCommunicationBalance,
  deepseekDeviceBalance,
  deepseekExpertBalance,
  deepspeedBalance,
  dogeBalance,
  entropyLoss,
  flaxformerBalance,
  gshardBalance,
  huggingFaceBalance,
  huggingFaceSwitchBalance,
  importanceCv,
  loadCv,
  megablocksBalance,
  megatronBalance,
  mutualInformation,
  nllbBalance,
  reluSparsity,
  sequenceBalance,
  stMoeBalance,
  switchBalance,
  tokenEntropyLoss,
  zLoss,
};

/** The loss that data describes. @throws ConfigError for one that is not known */
export function routingLoss(config: LossConfig): RoutingLoss {
  const { kind } = config;
  if (!Object.hasOwn(makers, kind)) {
    throw new ConfigError(`there is no loss ${String(kind)}`, "losses.kind", kind);
  }
  // The type of the configuration ties the options to the kind.
  const make = makers[kind] as (options: LossConfig) => RoutingLoss;
  return make(config);
}
