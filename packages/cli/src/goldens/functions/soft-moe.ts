import {
  type Backend,
  type ExpertBank,
  FormatError,
  type Tensor,
  leavesOf,
  mixExperts,
  mul,
  sum,
  valueAndGrad,
} from "@moiety/core";
import { glu, mlp } from "@moiety/experts";
import {
  type SoftNormParams,
  type SoftOptions,
  type SoftParams,
  softRouter,
} from "@moiety/routers";
import type { Precision } from "../budget.ts";
import { type GoldenCase, type Recorded, type Values, requireTensor } from "../case.ts";
import { countOf } from "../config.ts";
import { type CaseHandler, isFloat32Run, openLedger } from "../handler.ts";
import { evenSequences, floatTensor, rearranged, takeValues } from "../values.ts";

/** What stands behind `experts.experts.N.` in the source. */
const LEAVES = { up: "0.weight", upBias: "0.bias", down: "3.weight", downBias: "3.bias" } as const;

type ExpertLeaves = Readonly<Record<keyof typeof LEAVES, Tensor>>;

interface Given {
  readonly router: SoftParams;
  readonly experts: ExpertLeaves;
  readonly x: Tensor;
}

/** `soft_moe`: lucidrains' Soft MoE layer with its norms, GELU or GEGLU experts, and gradients. */
export const softMoe: CaseHandler = async (golden, context) => {
  const { backend, precision } = context;
  const { config } = golden;
  const options: SoftOptions = {
    hiddenSize: countOf(config, "dim"),
    numExperts: countOf(config, "num_experts"),
    numSlots: countOf(config, "num_slots"),
    variant: "lucidrains",
    useLayernorm: config["use_layernorm"] === true,
  };
  const { hiddenSize, numExperts } = options;
  const [groups = 0, length = 0] = requireTensor(golden, "x").shape;
  const [inner = 0] = requireTensor(golden, `weights.${expertName("upBias", 0)}`).shape;
  const ledger = openLedger(
    golden,
    context,
    sumsBehind(options, length, inner),
    (name) => isFloat32Run(name) || name.startsWith("weights.") || ["x", "upstream"].includes(name),
  );
  const isGated = config["geglu"] === true;
  const given = load(golden, options, backend, precision);
  try {
    const results = backend.scope(() => {
      const upstream = requireTensor(golden, "upstream");
      const rows = [groups * length, hiddenSize];
      const pulled = floatTensor(backend, upstream, precision, rows);
      const { grads, aux } = valueAndGrad((traced: Given) => {
        const context = { sequences: evenSequences(groups, length) };
        const routing = softRouter(options).route(traced.router, {}, traced.x, context);
        const [bank, params] = bankOf(options, isGated, traced.experts);
        const output = mixExperts(bank, params, traced.x, routing);
        const { combine, dispatch, logits } = routing;
        return {
          loss: sum(mul(output, pulled)),
          aux: {
            output,
            combine_weights: combine,
            dispatch_weights: dispatch,
            logits_slots: logits,
          },
        };
      })(given);
      const gradients = leavesOf(grads).map(({ path, leaf }) => [path, leaf as Tensor] as const);
      return { ...aux, ...Object.fromEntries(gradients) } as Record<string, Tensor>;
    });
    for (const [path, values] of await takeValues(results, context)) {
      for (const [name, part] of partsOf(path, values, numExperts)) {
        ledger.compare(name, { ...part, shape: golden.tensors.get(name)?.shape ?? values.shape });
      }
    }
  } finally {
    for (const { leaf } of leavesOf(given)) if ("dispose" in leaf) leaf.dispose();
  }
  return ledger.close();
};

/** Norms of tokens and slots, logits, softmax, mixture, experts, combine. */
function sumsBehind(
  { hiddenSize, numExperts, numSlots }: SoftOptions,
  length: number,
  inner: number,
): number[] {
  const slots = numExperts * numSlots;
  return [hiddenSize, hiddenSize, hiddenSize, length, length, hiddenSize, inner, slots, slots];
}

function bankOf(
  { hiddenSize, numExperts: experts }: SoftOptions,
  isGated: boolean,
  { up, upBias, down, downBias }: ExpertLeaves,
): [bank: ExpertBank<unknown>, params: unknown] {
  const intermediateSize = down.shape.at(-1) ?? 0;
  const sizes = { experts, hiddenSize, intermediateSize, activation: "gelu", bias: true } as const;
  if (!isGated) return [mlp(sizes) as ExpertBank<unknown>, { up, upBias, down, downBias }];
  // Its GEGLU multiplies the first half by the gelu of the second.
  const layout = { packing: "concatenated", first: "up" } as const;
  const params = { gateUp: up, gateUpBias: upBias, down, downBias };
  return [glu({ ...sizes, layout }) as ExpertBank<unknown>, params];
}

function load(
  golden: GoldenCase,
  { hiddenSize, numExperts, useLayernorm }: SoftOptions,
  backend: Backend,
  precision: Precision,
): Given {
  const weight = (name: string): Tensor =>
    floatTensor(backend, requireTensor(golden, `weights.${name}`), precision);
  const norm = (name: string): SoftNormParams => ({
    gamma: weight(`${name}.gamma`),
    ...(useLayernorm && { beta: weight(`${name}.beta`) }),
  });
  const stacked = (leaf: keyof typeof LEAVES): Tensor => {
    const parts = Array.from({ length: numExperts }, (_, expert) =>
      requireTensor(golden, `weights.${expertName(leaf, expert)}`),
    );
    return floatTensor(backend, stack(parts), precision);
  };
  const x = requireTensor(golden, "x");
  return {
    router: {
      slots: weight("slot_embeds"),
      norm: norm("norm"),
      slotNorm: norm("slot_norm"),
    },
    experts: {
      up: stacked("up"),
      upBias: stacked("upBias"),
      down: stacked("down"),
      downBias: stacked("downBias"),
    },
    x: floatTensor(backend, x, precision, [x.data.length / hiddenSize, hiddenSize]),
  };
}

function stack(parts: readonly Recorded[]): {
  readonly shape: readonly number[];
  readonly data: Float64Array;
} {
  const [first] = parts;
  if (first === undefined) throw new FormatError("the case has no experts", 0);
  if (parts.some((part) => part.shape.join() !== first.shape.join())) {
    throw new FormatError("the experts of the case have unequal shapes", 0);
  }
  const data = new Float64Array(parts.length * first.data.length);
  for (const [expert, part] of parts.entries()) data.set(part.data, expert * first.data.length);
  return { shape: [parts.length, ...first.shape], data };
}

function expertName(leaf: keyof typeof LEAVES, expert: number): string {
  return `experts.experts.${expert}.${LEAVES[leaf]}`;
}

/** The recorded names of a result, by the path under which it comes, and the numbers of each. */
function partsOf(
  path: string,
  values: Values,
  experts: number,
): (readonly [name: string, part: Values])[] {
  if (path.startsWith("experts.")) {
    const leaf = path.slice("experts.".length) as keyof typeof LEAVES;
    const size = values.data.length / experts;
    return Array.from({ length: experts }, (_, expert) => [
      `grad.weights.${expertName(leaf, expert)}`,
      rearranged(values, [size], (from) => from.subarray(expert * size, (expert + 1) * size)),
    ]);
  }
  if (path === "router.slots") return [["grad.weights.slot_embeds", values]];
  if (path.startsWith("router.")) {
    const own = path.slice("router.".length).replace("slotNorm", "slot_norm");
    return [[`grad.weights.${own}`, values]];
  }
  return [[path === "x" ? "grad.x" : path, values]];
}
