import {
  FormatError,
  type Routing,
  type Tensor,
  type TokenChoice,
  add,
  apply,
  leavesOf,
  mul,
  sum,
  valueAndGrad,
} from "@moiety/core";
import {
  type ConfiguredBlock,
  type DecoderMoeParams,
  type DecoderMoeState,
  type Family,
  blockFromConfig,
  routingLoss,
} from "@moiety/models";
import { blockTensors } from "./block-tensors.ts";
import { missingSizes } from "./case-sizes.ts";
import { type GoldenCase, type Values, isObject, requireTensor } from "./case.ts";
import { type CaseHandler, type RunContext, isFloat32Run, openLedger } from "./handler.ts";
import type { Ledger } from "./ledger.ts";
import { comparePairs } from "./pairs.ts";
import {
  evenSequences,
  floatTensor,
  indexTensor,
  maskTensor,
  takeValues,
  zeroValues,
} from "./values.ts";
import { type BlockBindings, bindBlock, loadWeights, splitLeaf } from "./weights.ts";

/** Tensors that every block case has. */
const REQUIRED = [
  "x",
  "upstream",
  "output",
  "router_logits",
  "selected_experts",
  "routing_weights",
  "grad.x",
];

interface Inputs {
  readonly x: Tensor;
  readonly upstream: Tensor;
  readonly mask: Tensor | undefined;
  readonly sequences: readonly number[];
  readonly tokenIds: Tensor | undefined;
  /** `[T, k]` the recorded choices, where they are played back. */
  readonly selected: Tensor | undefined;
  readonly params: DecoderMoeParams;
  readonly state: DecoderMoeState;
}

/** A loss of the family, with the coefficient of the case. */
interface CaseLoss {
  readonly name: string;
  readonly coefficient: number;
  evaluate(routing: TokenChoice): Tensor;
}

/** Runs the cases of a family's block: its output, its routing, its losses and all its gradients. */
export function blockHandler(family: Family): CaseHandler {
  return async (golden, context) => {
    for (const name of REQUIRED) requireTensor(golden, name);
    const block = configuredBlock(family, golden);
    const bindings = bindBlock(block);
    const losses = lossesOf(golden, block);
    const ledger = openLedger(golden, context, sumsBehind(golden, block), isSkipped);
    const inputs = await loadInputs(golden, block, bindings, context);
    try {
      await compareForward(ledger, golden, block, inputs, losses, context);
      await compareGradients(ledger, golden, block, bindings, inputs, [], context);
      if (losses.length > 0) {
        await compareGradients(ledger, golden, block, bindings, inputs, losses, context);
      }
    } finally {
      for (const { leaf } of leavesOf(inputs)) if ("dispose" in leaf) leaf.dispose();
    }
    return ledger.close();
  };
}

/** The block of a case. What transformers 5 made has the names that it has in memory. */
function configuredBlock(family: Family, golden: GoldenCase): ConfiguredBlock {
  const release = releaseOf(golden);
  const config = {
    ...(release !== undefined && { transformers_version: release }),
    ...golden.config,
    ...missingSizes(golden, family.modelType),
  };
  return blockFromConfig(family, config, { fused: Number.parseInt(release ?? "", 10) >= 5 });
}

function isSkipped(name: string): boolean {
  return (
    isFloat32Run(name) ||
    name.startsWith("weights.") ||
    ["x", "upstream", "attention_mask", "input_ids"].includes(name)
  );
}

async function loadInputs(
  golden: GoldenCase,
  block: ConfiguredBlock,
  bindings: BlockBindings,
  { backend, precision, replay = false }: RunContext,
): Promise<Inputs> {
  const x = requireTensor(golden, "x");
  const upstream = requireTensor(golden, "upstream");
  const mask = golden.tensors.get("attention_mask");
  const ids = golden.tensors.get("input_ids");
  const aux = golden.about["aux"];
  if (isObject(aux) && (aux["attention_mask"] ?? null) !== null) {
    requireTensor(golden, "attention_mask");
  }
  const chosen = requireTensor(golden, "selected_experts");
  const [tokens = 0] = x.shape.slice(-2);
  const batch = x.shape.slice(0, -2).reduce((count, size) => count * size, 1);
  const topK = chosen.data.length / Math.max(batch * tokens, 1);
  const { state, ...params } = await loadWeights(golden, block, bindings, backend, precision);
  return {
    x: floatTensor(backend, x, precision),
    upstream: floatTensor(backend, upstream, precision),
    mask: mask && maskTensor(backend, mask),
    sequences: evenSequences(batch, tokens),
    tokenIds: ids && indexTensor(backend, ids, [ids.data.length]),
    selected: replay ? indexTensor(backend, chosen, [batch * tokens, topK]) : undefined,
    params: params as unknown as DecoderMoeParams,
    state: state as unknown as DecoderMoeState,
  };
}

/** The block as its family's code runs it: the padding mask is for the losses alone. */
function runBlock(
  { layer }: ConfiguredBlock,
  { params, x, state, sequences, tokenIds, selected, mask }: Inputs,
): { readonly output: Tensor; readonly routing: TokenChoice; readonly masked: TokenChoice } {
  const { output, routing } = apply(layer, params, state, x, {
    sequences,
    tokenIds,
    selected,
  });
  const chosen = requireChoice(routing);
  return { output, routing: chosen, masked: { ...chosen, mask } };
}

/**
 * The routing as if every choice had found its place: families record the experts and weights of
 * dropped tokens, too. What is normalised after dropping they record after it.
 */
function recordedRouting(
  { layer, spec }: ConfiguredBlock,
  { params, x, state, sequences, tokenIds }: Inputs,
  routing: TokenChoice,
): TokenChoice {
  const { selected, indices } = routing;
  if (selected === indices || spec?.renormalize?.when === "after") return routing;
  const replayed = { sequences, tokenIds, selected, placed: selected };
  return requireChoice(layer.route(params, state, x, replayed));
}

function requireChoice(routing: Routing): TokenChoice {
  if (routing.kind === "token-choice") return routing;
  throw new FormatError(`block cases are for token-choice routers, not ${routing.kind}`, 0);
}

async function compareForward(
  ledger: Ledger,
  golden: GoldenCase,
  block: ConfiguredBlock,
  inputs: Inputs,
  losses: readonly CaseLoss[],
  context: RunContext,
): Promise<void> {
  const { selectionBias } = inputs.state.router;
  const { spec, moe } = block;
  if (spec === undefined) throw new FormatError("block cases are for routers made of stages", 0);
  const results = inputs.x.backend.scope(() => {
    const { output, routing, masked } = runBlock(block, inputs);
    const recorded = recordedRouting(block, inputs, routing);
    const found: Record<string, Tensor> = {
      output,
      selected: recorded.selected,
      weights: recorded.inputWeights ?? recorded.outputWeights,
    };
    const { router } = moe;
    const x = inputs.x.reshape([-1, block.hiddenSize]);
    const from = { routing, x, router, params: inputs.params.router, spec, selectionBias };
    for (const [name, make] of Object.entries(blockTensors)) {
      const made = ledger.wants(name) ? make(from) : undefined;
      if (made) found[name] = made;
    }
    for (const { name, evaluate } of losses) {
      if (ledger.wants(`aux.${name}`)) found[`aux.${name}`] = evaluate(masked);
    }
    return found;
  });
  const values = await takeValues(results, context);
  const take = (name: string): Values => values.get(name) ?? zeroValues([0]);
  for (const [name, found] of values) {
    if (name !== "selected" && name !== "weights") ledger.compare(name, found);
  }
  comparePairs(ledger, golden, { selected: take("selected"), weights: take("weights") });
}

/** Gradients of Σ output · upstream, plus the losses; without losses `grad.*`, else `grad_aux.*`. */
async function compareGradients(
  ledger: Ledger,
  golden: GoldenCase,
  block: ConfiguredBlock,
  bindings: BlockBindings,
  inputs: Inputs,
  losses: readonly CaseLoss[],
  context: RunContext,
): Promise<void> {
  const results = inputs.x.backend.scope(() => {
    const evaluate = valueAndGrad((traced: { params: DecoderMoeParams; x: Tensor }) => {
      const { output, masked } = runBlock(block, { ...inputs, ...traced });
      let loss = sum(mul(output, inputs.upstream));
      for (const { coefficient, evaluate: value } of losses) {
        loss = add(loss, mul(value(masked), coefficient));
      }
      return loss;
    });
    const { grads } = evaluate({ params: inputs.params, x: inputs.x });
    return Object.fromEntries(leavesOf(grads).map(({ path, leaf }) => [path, leaf as Tensor]));
  });
  const values = await takeValues(results, context);
  const prefix = losses.length > 0 ? "grad_aux" : "grad";
  compareTo(ledger, golden, prefix, "x", values.get("x") ?? zeroValues(inputs.x.shape));
  for (const [path, binding] of bindings) {
    if (path.startsWith("state.")) continue;
    const gradient = values.get(`params.${path}`) ?? zeroValues(binding.shape);
    for (const [name, part] of await splitLeaf(binding, gradient)) {
      compareTo(ledger, golden, prefix, `weights.${name}`, part);
    }
  }
}

/**
 * A gradient that was not recorded is zero, and with losses it is what it is without them.
 */
function compareTo(
  ledger: Ledger,
  golden: GoldenCase,
  prefix: "grad" | "grad_aux",
  name: string,
  gradient: Values,
): void {
  const own = `${prefix}.${name}`;
  if (golden.tensors.has(own)) {
    ledger.compare(own, gradient);
    return;
  }
  ledger.compareValues(
    own,
    golden.tensors.get(`grad.${name}`) ?? zeroValues(gradient.shape),
    gradient,
  );
}

function lossesOf(golden: GoldenCase, block: ConfiguredBlock): CaseLoss[] {
  const aux = golden.about["aux"];
  if (!isObject(aux)) return [];
  const { coef } = aux;
  return block.losses.map((config) => {
    const { name } = config;
    const given = isObject(coef) ? coef[name] : coef;
    if (typeof given !== "number") {
      throw new FormatError(`case.json: aux.coef does not give the coefficient of ${name}`, 0);
    }
    for (const wanted of [`aux.${name}`, "grad_aux.x"]) requireTensor(golden, wanted);
    const loss = routingLoss(config);
    return { name, coefficient: given, evaluate: (routing) => loss.evaluate([routing]) };
  });
}

/** Lengths of the sums that feed each other between input and gradients. */
function sumsBehind(
  golden: GoldenCase,
  { hiddenSize, experts, spec, moe }: ConfiguredBlock,
): number[] {
  const tokens = requireTensor(golden, "x").data.length / Math.max(hiddenSize, 1);
  const topK = spec?.topK ?? experts;
  const inner = moe.expert.intermediateSize + (moe.shared?.intermediateSize ?? 0);
  return [hiddenSize, experts, topK, hiddenSize, inner, tokens, inner, hiddenSize];
}

/** The release of transformers that made the case. */
function releaseOf({ about: { source } }: GoldenCase): string | undefined {
  const version = isObject(source) ? source["version"] : undefined;
  return typeof version === "string" ? version.replace(/^v/, "") : undefined;
}
