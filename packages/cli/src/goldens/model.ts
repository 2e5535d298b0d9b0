import type { Checkpoint } from "@moiety/checkpoints";
import { openCheckpoint } from "@moiety/checkpoints/node";
import {
  type Backend,
  type FloatDType,
  FormatError,
  type Routing,
  type Tensor,
  apply,
  leavesOf,
  putAlong,
  zerosLike,
} from "@moiety/core";
import {
  type AttentionConfig,
  type DecoderConfig,
  type ReadyModel,
  generate,
  headSizes,
  loadModel,
  modelLoss,
  moePart,
} from "@moiety/models";
import { type GoldenCase, type Recorded, type Values, requireTensor } from "./case.ts";
import { type RunContext, openLedger } from "./handler.ts";
import type { Ledger, Verdict } from "./ledger.ts";
import { compareSavedAgain } from "./saved-again.ts";
import { indexTensor, takeValues } from "./values.ts";

/** Tensors that every whole model's case has. */
const REQUIRED = ["input_ids", "prompt_ids", "logits.f64", "loss.f64", "greedy_sequence"];

/**
 * Runs a whole model: logits, router logits, losses, greedy continuation, and whether saving it again
 * gives the folder that it was loaded from.
 */
export async function modelCase(golden: GoldenCase, context: RunContext): Promise<Verdict> {
  for (const name of REQUIRED) requireTensor(golden, name);
  const checkpoint = await openCheckpoint(golden.folder);
  try {
    return await withModel(checkpoint, context.backend, context.precision, (ready) =>
      compareModel(golden, checkpoint, ready, context),
    );
  } finally {
    await checkpoint.close();
  }
}

async function compareModel(
  golden: GoldenCase,
  checkpoint: Checkpoint,
  ready: ReadyModel,
  context: RunContext,
): Promise<Verdict> {
  const { backend, precision } = context;
  const ids = requireTensor(golden, "input_ids");
  // Bounds that are composed through attention and choices grow beyond use with each layer.
  const own = { ...context, measured: undefined };
  const ledger = openLedger(golden, own, sumsBehind(ready.model.config, ids), (name) => {
    if (name === "input_ids" || name === "prompt_ids") return true;
    return precision === "f64" && isFloat32(name);
  });
  if (precision === "f32")
    ledger.note("the numbers of a whole model are held to the lengths of their sums");
  for (const [name, values] of await runModel(ready, context, golden)) {
    ledger.compare(name, values);
    const twin = name.replace("f64", "f32");
    if (twin !== name && ledger.wants(twin)) ledger.compareTwin(twin, name, values);
  }
  await compareGreedy(ledger, golden, checkpoint, ready, { backend, precision });
  await compareSavedAgain(ledger, checkpoint, ready);
  return ledger.close();
}

/** The forward pass; names are those of the float64 truth. */
async function runModel(
  { model, params, state, config }: ReadyModel,
  context: RunContext,
  golden: GoldenCase,
): Promise<ReadonlyMap<string, Values>> {
  const { backend } = context;
  const isAsked = config.document.value["output_router_logits"] === true;
  const results = backend.scope(() => {
    const ids = indexTensor(backend, requireTensor(golden, "input_ids"));
    const output = apply(model, params, state, ids);
    const { loss, crossEntropy, losses } = modelLoss(output, ids);
    // Hugging Face's models that have a loss of their routers give both when the configuration or the
    // caller asks; the others never do.
    const withRouters = golden.tensors.has("aux_loss.f64") || (isAsked && losses.length > 0);
    const found: Record<string, Tensor> = {
      "logits.f64": output.logits,
      "loss.f64": withRouters ? loss : crossEntropy,
    };
    // What a family's code pools for its loss is what it calls the router's logits.
    const givesWeights = config.decoder.losses.some(
      (own) => own.kind === "huggingFaceBalance" && own.from === "weights",
    );
    for (const [index, routing] of output.routings.entries()) {
      found[`router_logits.f64.${index}`] = givesWeights ? weightsOf(routing) : routing.logits;
    }
    for (const { value } of losses) found["aux_loss.f64"] = value;
    if (withRouters) return found;
    return Object.fromEntries(Object.entries(found).filter(([name]) => golden.tensors.has(name)));
  });
  return takeValues(results, context);
}

/** `[T, E]` the weights of the chosen experts, 0 elsewhere. */
function weightsOf(routing: Routing): Tensor {
  if (routing.kind !== "token-choice") {
    throw new FormatError(`model cases are for token-choice routers, not ${routing.kind}`, 0);
  }
  const { logits, indices, outputWeights } = routing;
  return putAlong(zerosLike(logits), indices, outputWeights, { axis: 1 });
}

/**
 * Two sequences may be recorded, of a float32 and of a float64 run. Where they differ, each is held
 * against a run of its own precision.
 */
async function compareGreedy(
  ledger: Ledger,
  golden: GoldenCase,
  checkpoint: Checkpoint,
  ready: ReadyModel,
  { backend, precision }: RunContext,
): Promise<void> {
  const areEqual = golden.about["greedy_f32_equals_f64"] !== false;
  const names = { f32: "greedy_sequence", f64: "greedy_sequence.f64" } as const;
  for (const dtype of ["f32", "f64"] as const) {
    const name = names[dtype];
    const recorded = golden.tensors.get(name);
    if (recorded === undefined) continue;
    const run = (model: ReadyModel): Promise<Values> => continueGreedily(model, golden, recorded);
    const values =
      areEqual || dtype === precision
        ? await run(ready)
        : await withModel(checkpoint, backend, dtype, run);
    ledger.compare(name, values);
  }
}

async function continueGreedily(
  { model, params, state }: ReadyModel,
  golden: GoldenCase,
  recorded: Recorded,
): Promise<Values> {
  const prompt = requireTensor(golden, "prompt_ids");
  const [rows = 0, given = 0] = prompt.shape;
  const [sequences = 0, length = 0] = recorded.shape;
  if (sequences !== rows || length < given) {
    throw new FormatError(`${recorded.name} does not continue prompt_ids; the case is damaged`, 0);
  }
  const data = new Float64Array(rows * length);
  for (let row = 0; row < rows; row++) {
    const start = prompt.data.subarray(row * given, (row + 1) * given);
    data.set(start, row * length);
    let place = row * length + given;
    const options = { maxNewTokens: length - given };
    for await (const token of generate(model, params, state, start, options)) data[place++] = token;
  }
  return { shape: recorded.shape, data };
}

async function withModel<R>(
  checkpoint: Checkpoint,
  backend: Backend,
  dtype: FloatDType,
  use: (ready: ReadyModel) => Promise<R>,
): Promise<R> {
  const ready = await loadModel(checkpoint, { backend, dtype });
  try {
    return await use(ready);
  } finally {
    for (const { leaf } of leavesOf([ready.params, ready.state])) {
      if ("dispose" in leaf) leaf.dispose();
    }
  }
}

function isFloat32(name: string): boolean {
  return name.split(".").includes("f32");
}

/** Lengths of the sums that feed each other between tokens and loss. */
function sumsBehind(config: DecoderConfig, ids: Recorded): number[] {
  const { hiddenSize, vocabSize, layers } = config;
  const tokens = ids.shape.at(-1) ?? 1;
  const inLayers = layers.flatMap((layer) => {
    const around = sumsOfAttention(layer.attention ?? config.attention, hiddenSize, tokens);
    if ("dense" in layer) return [...around, hiddenSize, layer.dense.intermediateSize];
    const { expert, shared } = layer.moe;
    const { experts, spec } = moePart(layer.moe, hiddenSize, config.initializerRange).router;
    const inner = expert.intermediateSize + (shared?.intermediateSize ?? 0);
    return [...around, hiddenSize, experts, hiddenSize, inner, spec?.topK ?? experts];
  });
  return [...inLayers, hiddenSize, hiddenSize, vocabSize, ids.data.length];
}

/** Those of a layer's first norm, its attention and its second norm. */
function sumsOfAttention(attention: AttentionConfig, hiddenSize: number, tokens: number): number[] {
  const { keyWidth, valueWidth } = headSizes(attention);
  const heads = attention.numAttentionHeads * valueWidth;
  const latents =
    attention.kind === "latent"
      ? [Math.max(attention.kvLoraRank, attention.qLoraRank ?? 1) * 2]
      : [];
  return [hiddenSize, hiddenSize, ...latents, keyWidth, tokens, heads, hiddenSize];
}
