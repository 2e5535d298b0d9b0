import create from "@moiety/backend-wasm";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bestOf, measureBounds, withBounds } from "../moe/bounds.ts";
import { type Setting, goalIn } from "../moe/setting.ts";
import { report } from "../options.ts";
import { type Row, rounded, rowOf } from "../rows.ts";
import { type Contestant, race } from "../timing.ts";
import { CONTINUED, type Comparison, compare } from "./compare.ts";
import { stepCost } from "./cost.ts";
import { type ExpertStorage, type Format, roundsActivations, storageOf } from "./formats.ts";
import type { HostModel, RestFormat } from "./olmoe.ts";
import { type Continuer, ourModel } from "./ours.ts";
import { MAX_NEW_TOKENS, hostFor, peerFor, textOf } from "./peers.ts";

/** What a process measures. */
export interface Plan {
  readonly threads: number;
  readonly layers: number;
  readonly samples: number;
  readonly prompts: readonly number[];
  readonly formats: readonly Format[];
  readonly rest: RestFormat;
  readonly peers: boolean;
}

/** The least that is aimed at: times of the peer's speed. */
const GOALS = { decode: 1, prefill: 0.5 } as const;
/** The format that the goals are for. */
const GOAL_FORMAT: Format = "q4_32_a8";
/** Tokens of the prompt on which the contestants are compared. */
const COMPARED = 24;
/** The largest difference of a logarithm of a probability, in float32. */
const MAY_ERR = 1e-4;
/**
 * The largest mean divergence where weights are in blocks, in nats. There llama.cpp rounds activations to
 * 8 bits, and keys and values to half floats; now and then a token goes to another expert.
 */
const MAY_DIVERGE = { rounded: 0.001, floats: 0.005 } as const;

/** Measures, in this process. */
export async function measure(plan: Plan, node: number): Promise<Row[]> {
  const { threads, samples } = plan;
  const setting = { threads, node, peers: plan.peers, patience: { samples, limit: 30_000 } };
  report(`Node ${process.versions.node}, threads: ${threads}`);
  let bounds = await measureBounds(threads);
  const rows: Row[] = [];
  for (const storage of new Set(plan.formats.map(storageOf))) {
    // oxlint-disable-next-line no-await-in-loop -- one at a time is the point
    rows.push(...(await measureStored(plan, setting, storage)));
    // oxlint-disable-next-line no-await-in-loop -- others may have disturbed it before
    bounds = bestOf(bounds, await measureBounds(threads));
  }
  return rows.map((row) => withBounds(row, bounds, threads));
}

/** Ours in all formats that store weights so, one after another, beside the peer that does. */
async function measureStored(plan: Plan, setting: Setting, storage: ExpertStorage): Promise<Row[]> {
  const host = hostFor(storage, plan.rest, plan.layers);
  const folder = mkdtempSync(join(tmpdir(), "moiety-generate-"));
  const longest = Math.max(COMPARED, ...plan.prompts);
  const rows: Row[] = [];
  let peer: Continuer | undefined;
  try {
    if (plan.peers) peer = await peerFor(host, { folder, threads: plan.threads, longest });
    for (const format of plan.formats) {
      if (storageOf(format) !== storage) continue;
      // oxlint-disable-next-line no-await-in-loop -- one at a time is the point
      rows.push(...(await measureFormat(plan, setting, host, format, peer)));
    }
    return rows;
  } finally {
    await peer?.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measureFormat(
  plan: Plan,
  setting: Setting,
  host: HostModel,
  format: Format,
  peer: Continuer | undefined,
): Promise<Row[]> {
  report(`${textOf(host, format)}: making it …`);
  const backend = await create({ threads: plan.threads });
  try {
    const ours = await ourModel(backend, host, format);
    const comparison = peer && (await comparedWith(peer, ours, host, format));
    return await measureModel(plan.prompts, { setting, host, format, ours, peer, comparison });
  } finally {
    await backend.dispose();
  }
}

async function measureModel(prompts: readonly number[], pair: Pair): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [index, length] of prompts.entries()) {
    const prompt = promptOf(length, pair.host);
    const everybody = [pair.ours, ...(pair.peer ? [pair.peer] : [])];
    report(`prefill of ${length} …`);
    const prefills = everybody.map((one) => prefill(one, prompt));
    // oxlint-disable-next-line no-await-in-loop -- one at a time is the point
    rows.push(await timed(pair, "prefill", length, prefills));
    if (index > 0) continue;
    report(`decode after ${length} …`);
    const decodes = everybody.map((one) => decode(one, prompt));
    // oxlint-disable-next-line no-await-in-loop -- one at a time is the point
    rows.push(await timed(pair, "decode", length, decodes));
    // oxlint-disable-next-line no-await-in-loop -- one at a time
    for (const { end } of decodes) await end();
  }
  return rows;
}

/** @throws Error where what a peer finds is too far from ours for the two to be compared */
async function comparedWith(
  peer: Continuer,
  ours: Continuer,
  host: HostModel,
  format: Format,
): Promise<Comparison> {
  const found = await compare(ours, peer, promptOf(COMPARED, host));
  const { error, kl, sameTop, sameTokens } = found;
  const text = `${error} at most, ${kl} nats, ${sameTop} same, ${sameTokens} tokens`;
  report(`${peer.name} is apart by ${text}`);
  const right =
    format === "f32"
      ? error <= MAY_ERR && sameTop === 1 && sameTokens === CONTINUED
      : kl <= MAY_DIVERGE[roundsActivations(format) ? "rounded" : "floats"];
  if (right) return found;
  throw new Error(`${peer.name} and ${ours.name} are too far apart: ${text}`);
}

/** What is timed: our model, and the peer's where there is one. */
interface Pair {
  readonly setting: Setting;
  readonly host: HostModel;
  readonly format: Format;
  readonly ours: Continuer;
  readonly peer: Continuer | undefined;
  readonly comparison: Comparison | undefined;
}

async function timed(
  { setting, host, format, peer, comparison }: Pair,
  kind: "prefill" | "decode",
  length: number,
  contestants: readonly Contestant[],
): Promise<Row> {
  const [timing, theirs] = await race(contestants, setting.patience);
  if (timing === undefined) throw new Error("nothing was timed");
  const isDecode = kind === "decode";
  const tokens = isDecode ? 1 : length;
  const speed = (time: number | undefined): number | undefined =>
    time === undefined ? undefined : rounded((tokens / time) * 1000);
  const name = `${isDecode ? "decode after" : "prefill of"} ${length}, ${textOf(host, format)}`;
  const hasGoal = peer && format === GOAL_FORMAT && host.rest === host.experts;
  return rowOf(name, timing.median, peer?.name ?? null, theirs?.median ?? null, {
    ...goalIn(setting, hasGoal ? GOALS[kind] : undefined),
    tokensPerSecond: speed(timing.median),
    peerTokensPerSecond: speed(theirs?.median),
    ...stepCost(host, tokens, isDecode ? length : 0),
    rounded: roundsActivations(format),
    samples: timing.samples,
    ...comparison,
  });
}

/** Tokens that look random. */
function promptOf(length: number, { config }: HostModel): number[] {
  return Array.from({ length }, (_, index) => (index * 7919 + 13) % config.vocab_size);
}

/** A run is the way of a whole prompt to the first token. */
function prefill(continuer: Continuer, prompt: readonly number[]): Contestant {
  return {
    async run() {
      const tokens = continuer.start(prompt, 1);
      await tokens.next();
      await tokens.return();
      return undefined;
    },
  };
}

/** A run is one token of one continuation, which grows from run to run. */
function decode(
  continuer: Continuer,
  prompt: readonly number[],
): Contestant & { end(): Promise<void> } {
  const tokens = continuer.start(prompt, MAX_NEW_TOKENS);
  return {
    async run() {
      const { done } = await tokens.next();
      if (done) throw new Error(`${continuer.name} has no further token`);
      return undefined;
    },
    async end() {
      await tokens.return();
    },
  };
}
