import type { Backend } from "@moiety/core";
import createCpu from "@moiety/backend-cpu";
import create from "@moiety/backend-wasm";
import { assertGradients, timeBackward } from "../backward.ts";
import { forwardOperations, measuredLayer, uploadWeights } from "../layer.ts";
import { report } from "../options.ts";
import type { Row } from "../rows.ts";
import { type LayerSizes, hostWeights } from "../weights.ts";
import { measureAttention } from "./attention.ts";
import { bestOf, measureBounds, withBounds } from "./bounds.ts";
import { measureAgainstDense, withCostGoal } from "./dense.ts";
import { forwardBytes, layerText, measureLayer } from "./layers.ts";
import { measureProduct, measureTile } from "./products.ts";
import type { Setting } from "./setting.ts";
import { measureTraining } from "./training.ts";

/** What can be measured, in the order in which it is. */
export const parts = ["products", "layers", "dense", "backward", "attention", "training"] as const;
/** One of {@link parts}. */
export type Part = (typeof parts)[number];

/** The layer that the goals are for, and others, so that none is met by tuning one. */
const LAYERS: readonly LayerSizes[] = [
  { hidden: 512, intermediate: 1024, experts: 16, topK: 2 },
  { hidden: 1024, intermediate: 512, experts: 64, topK: 8 },
  { hidden: 256, intermediate: 128, experts: 128, topK: 4 },
];
const FORMATS = ["f32", "q4_block32", "q8_row"] as const;
const DENSE_EXPERTS = [16, 64, 256] as const;
const BACKWARD_TOKENS = 512;

/** What a process measures. */
export interface Plan {
  readonly threads: number;
  readonly samples: number;
  readonly tokenCounts: readonly number[];
  readonly parts: readonly Part[];
  readonly peers: boolean;
  /** Only the layer of the goals. */
  readonly short: boolean;
}

/** Measures, in this process. */
export async function measure(plan: Plan, node: number): Promise<Row[]> {
  const { threads, samples } = plan;
  const backend = await create({ threads });
  const oracle = await createCpu();
  const setting = { threads, node, peers: plan.peers, patience: { samples, limit: 30_000 } };
  report(`Node ${process.versions.node}, threads: ${threads}`);
  let bounds = await measureBounds(threads);
  const rows: Row[] = [];
  for (const part of plan.parts) {
    // oxlint-disable-next-line no-await-in-loop -- one at a time is the point
    rows.push(...(await measurePart(part, plan, setting, backend, oracle)));
    // oxlint-disable-next-line no-await-in-loop -- others may have disturbed it before
    bounds = bestOf(bounds, await measureBounds(threads));
  }
  await backend.dispose();
  await oracle.dispose();
  const { exact } = backend.capabilities.details ?? {};
  return rows.map((row) => ({
    ...withCostGoal(withBounds(row, bounds, threads), bounds),
    exact,
  }));
}

async function measurePart(
  part: Part,
  plan: Plan,
  setting: Setting,
  backend: Backend,
  oracle: Backend,
): Promise<Row[]> {
  report(`${part} …`);
  switch (part) {
    case "products":
      return [await measureTile(), ...(await measureProduct(setting, backend))];
    case "layers":
      return measureLayers(plan, setting, backend);
    case "dense":
      return measureDense(setting, backend);
    case "backward":
      return [await measureBackward(setting, backend, oracle)];
    case "attention":
      return measureAttention(setting, backend, oracle);
    case "training":
      return measureTraining(setting, backend, oracle);
  }
}

async function measureLayers(plan: Plan, setting: Setting, backend: Backend): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [index, sizes] of (plan.short ? LAYERS.slice(0, 1) : LAYERS).entries()) {
    for (const format of FORMATS) {
      report(`${layerText(sizes)}, ${format} …`);
      const task = { sizes, format, tokenCounts: plan.tokenCounts, goals: index === 0 };
      // oxlint-disable-next-line no-await-in-loop -- one at a time is the point
      rows.push(...(await measureLayer(setting, backend, task)));
    }
  }
  return rows;
}

async function measureDense(setting: Setting, backend: Backend): Promise<Row[]> {
  const rows: Row[] = [];
  for (const experts of DENSE_EXPERTS) {
    report(`E ${experts} against dense …`);
    // oxlint-disable-next-line no-await-in-loop -- one at a time is the point
    rows.push(...(await measureAgainstDense(setting, backend, experts)));
  }
  return rows;
}

async function measureBackward(setting: Setting, backend: Backend, oracle: Backend): Promise<Row> {
  const [sizes] = LAYERS as readonly [LayerSizes];
  const layer = measuredLayer(sizes);
  const weights = hostWeights(sizes);
  const params = await uploadWeights(backend, weights, "f32");
  await assertGradients(layer, sizes, weights, oracle, { backend, params });
  const tokens = BACKWARD_TOKENS;
  const row = await timeBackward(layer, sizes, { backend, params }, tokens, setting.patience);
  for (const tensor of [params.router.weight, params.experts.gateUp, params.experts.down]) {
    tensor.dispose();
  }
  return {
    ...row,
    operations: 3 * forwardOperations(sizes, tokens),
    // Read forward and backward, and the gradients are written.
    bytes: 3 * forwardBytes(sizes, "f32", tokens, sizes.experts),
  };
}
