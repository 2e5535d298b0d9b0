import {
  type Backend,
  ConfigError,
  MoietyError,
  type Tensor,
  apply,
  leavesOf,
  valueAndGrad,
} from "@moiety/core";
import { totalLoss } from "@moiety/losses";
import type { DecoderParams } from "@moiety/models";
import { disposeTree } from "@moiety/train";
import { balanceOf } from "./balances.ts";
import { type Learner, type Snapshot, createLearner, upload } from "./learner.ts";
import { modelOf } from "./model-config.ts";
import { streamKey } from "./random-choice.ts";
import { balanceLosses } from "./routing-losses.ts";
import type { NewSettings, Settings } from "./settings.ts";
import type { Batch } from "./windows.ts";

/**
 * Takes one step of a very narrow model with a run's router, balance and batches, and evaluates it, so
 * that what does not go together is refused before a run begins.
 *
 * @throws ConfigError naming router and balance, with the reason.
 */
export async function tryOut(chosen: NewSettings, backend: Backend): Promise<void> {
  const settings = narrow(chosen);
  let held: Snapshot | undefined;
  try {
    const key = streamKey(settings.seed, "sparse");
    const configured = modelOf("sparse", settings);
    const learner = createLearner("sparse", configured, settings, key, backend);
    const start = learner.start(1);
    held = start;
    backend.scope(() => {
      const { ids } = upload(bytesOf(settings), backend);
      requireChoices(learner, start, ids, settings);
      requireEffect(learner, start, ids, settings);
    });
    for await (const { snapshot } of learner.learn(start, () => bytesOf(settings))) {
      held = snapshot;
      backend.scope(() => {
        const { ids } = upload(bytesOf(settings), backend);
        const { logits } = apply(learner.evaluated, snapshot.params, snapshot.state, ids);
        return logits.size;
      });
    }
  } catch (error) {
    if (!(error instanceof MoietyError)) throw error;
    const { router, balance } = settings;
    throw new ConfigError(
      `--router ${router} with --balance ${balance} does not train here: ${error.message}`,
      "router",
      router,
      { cause: error },
    );
  } finally {
    disposeTree(held);
  }
}

/** The same with so narrow a model that a step takes no time. */
function narrow(chosen: NewSettings): Settings {
  const { model } = chosen;
  return {
    ...chosen,
    text: null,
    textDigest: "",
    model: {
      ...model,
      hiddenSize: 2,
      numHiddenLayers: 1,
      numAttentionHeads: 1,
      numKeyValueHeads: 1,
      intermediateSize: 1,
    },
  };
}

/** As many bytes as a batch of the run has, all kinds of them. */
function bytesOf({ training, model }: Settings): Batch {
  const { batchSize: rows, sequenceLength: length } = training;
  const bytes = Int32Array.from(
    { length: rows * length },
    (_, place) => (place * 37) % model.vocabSize,
  );
  return { inputs: bytes, targets: bytes, rows, length, domains: [] };
}

/** Refuses a router whose tokens take another number of experts than the settings say. */
function requireChoices(
  { configured }: Learner,
  { params, state }: Snapshot,
  ids: Tensor,
  settings: Settings,
): void {
  const { numExpertsPerTok } = settings.model;
  const { routings } = apply(configured.model, params, state, ids);
  for (const routing of routings) {
    if (routing.kind !== "token-choice" || routing.maxActive !== undefined) continue;
    const choices = routing.selected.shape[1] ?? 0;
    if (choices === numExpertsPerTok) continue;
    throw new ConfigError(
      `its tokens take ${choices} experts, not ${numExpertsPerTok}: give --top-k ${choices}`,
      "topK",
      numExpertsPerTok,
    );
  }
}

/** Refuses a loss that moves nothing in the routers. */
function requireEffect(
  { configured }: Learner,
  { params, state, key }: Snapshot,
  ids: Tensor,
  settings: Settings,
): void {
  if (balanceOf(settings.balance).losses === undefined) return;
  const { grads } = valueAndGrad((given: DecoderParams) => {
    const context = { training: true, key };
    const { routings } = apply(configured.model, given, state, ids, context);
    const values = balanceLosses(settings).map(({ name, coefficient, evaluate }) => ({
      name,
      coefficient,
      value: evaluate(routings),
    }));
    return totalLoss(values);
  })(params);
  if (leavesOf(grads.layers.map(({ moe }) => moe?.router)).length > 0) return;
  throw new ConfigError(
    `${settings.balance} has no gradient with these routings, so it would move nothing`,
    "balance",
    settings.balance,
  );
}
