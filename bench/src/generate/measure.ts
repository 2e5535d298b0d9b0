import create from "@moiety/backend-wasm";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Bounds, bestOf, measureBounds, withBound } from "../moe/bounds.ts";
import { type Setting, goalIn } from "../moe/setting.ts";
import { report } from "../options.ts";
import { type Row, rounded, rowOf } from "../rows.ts";
import { type Contestant, race } from "../timing.ts";
import { CONTINUED, type Comparison, compare } from "./compare.ts";
import { stepCost } from "./cost.ts";
import type { ExpertFormat, HostModel, RestFormat } from "./olmoe.ts";
import { type Continuer, ourModel } from "./ours.ts";
import { MAX_NEW_TOKENS, hostFor, peerFor, storagesFor, textOf } from "./peers.ts";

/** What a process measures. */
export interface Plan {
  readonly threads: number;
  readonly layers: number;
  readonly samples: number;
  readonly prompts: readonly number[];
  readonly formats: readonly ExpertFormat[];
  readonly rest: RestFormat;
  readonly peers: boolean;
}

/** The least that is aimed at: times of the peer's speed. */
const GOALS = { decode: 1, prefill: 0.5 } as const;
/** The format that the goals are for. */
const GOAL_FORMAT: ExpertFormat = "q4";
/** Tokens of the prompt on which the contestants are compared. */
const COMPARED = 24;
/** The largest difference of a logarithm of a probability, in float32. */
const MAY_ERR = 1e-4;
/**
 * The largest mean divergence where weights are in blocks, in nats: there llama.cpp rounds activations to
 * 8 bits, and a token now and then goes to another expert.
 */
const MAY_DIVERGE = 0.005;
/** Measures, in this process. */
export async function measure(plan: Plan, node: number): Promise<Row[]> {
  const { threads, samples } = plan;
  const setting = { threads, node, peers: plan.peers, patience: { samples, limit: 30_000 } };
  report(`Node ${process.versions.node}, threads: ${threads}`);
  let bounds = await measureBounds(threads);
  const rows: Row[] = [];
  for (const format of plan.formats) {
    // oxlint-disable-next-line no-await-in-loop -- one at a time is the point
    rows.push(...(await measureFormat(plan, setting, format)));
    // oxlint-disable-next-line no-await-in-loop -- others may have disturbed it before
    bounds = bestOf(bounds, await measureBounds(threads));
  }
  return rows.map((row) => finished(row, bounds, threads));
}

function finished(row: Row, bounds: Bounds, threads: number): Row {
  return {
    ...withBound(row, bounds),
    threads,
    node: process.versions.node,
    peakGflops: Math.round(bounds.flops / 1e9),
    peakGBs: rounded(bounds.bytes / 1e9),
  };
}

async function measureFormat(plan: Plan, setting: Setting, format: ExpertFormat): Promise<Row[]> {
  const host = hostFor(format, plan.rest, plan.layers);
  report(`${textOf(host)}: making it …`);
  const backend = await create({ threads: plan.threads });
  const ours = await ourModel(backend, host);
  const folder = mkdtempSync(join(tmpdir(), "moiety-generate-"));
  const longest = Math.max(COMPARED, ...plan.prompts);
  const peers: Continuer[] = [];
  try {
    for (const storage of plan.peers ? storagesFor(host) : []) {
      // oxlint-disable-next-line no-await-in-loop -- one at a time takes less memory
      peers.push(await peerFor(host, storage, { folder, threads: plan.threads, longest }));
    }
    return await measureModel(plan, setting, host, ours, peers);
  } finally {
    for (const { dispose } of [...peers, ours]) {
      // oxlint-disable-next-line no-await-in-loop -- one after another
      await dispose();
    }
    await backend.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measureModel(
  plan: Plan,
  setting: Setting,
  host: HostModel,
  ours: Continuer,
  peers: readonly Continuer[],
): Promise<Row[]> {
  const comparisons: Comparison[] = [];
  for (const peer of peers) {
    // oxlint-disable-next-line no-await-in-loop -- one at a time
    comparisons.push(await comparedWith(peer, ours, host));
  }
  const rows: Row[] = [];
  for (const [index, length] of plan.prompts.entries()) {
    const prompt = promptOf(length, host);
    const everybody = [ours, ...peers];
    report(`prefill of ${length} …`);
    const race = { setting, host, peers, comparisons, length };
    // oxlint-disable-next-line no-await-in-loop -- one at a time is the point
    rows.push(
      ...(await timed(
        race,
        "prefill",
        everybody.map((one) => prefill(one, prompt)),
      )),
    );
    if (index > 0) continue;
    report(`decode after ${length} …`);
    const decodes = everybody.map((one) => decode(one, prompt));
    // oxlint-disable-next-line no-await-in-loop -- one at a time is the point
    rows.push(...(await timed(race, "decode", decodes)));
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
): Promise<Comparison> {
  const found = await compare(ours, peer, promptOf(COMPARED, host));
  const { error, kl, sameTop, sameTokens } = found;
  const text = `${error} at most, ${kl} nats, ${sameTop} same, ${sameTokens} tokens`;
  report(`${peer.name} is apart by ${text}`);
  const right =
    host.format === "f32"
      ? error <= MAY_ERR && sameTop === 1 && sameTokens === CONTINUED
      : kl <= MAY_DIVERGE;
  if (right) return found;
  throw new Error(`${peer.name} and ${ours.name} are too far apart: ${text}`);
}

interface Timed {
  readonly setting: Setting;
  readonly host: HostModel;
  readonly peers: readonly Continuer[];
  readonly comparisons: readonly Comparison[];
  /** Tokens of the prompt. */
  readonly length: number;
}

async function timed(
  { setting, host, peers, comparisons, length }: Timed,
  kind: "prefill" | "decode",
  contestants: readonly Contestant[],
): Promise<Row[]> {
  const [timing, ...theirs] = await race(contestants, setting.patience);
  if (timing === undefined) throw new Error("nothing was timed");
  const isDecode = kind === "decode";
  const tokens = isDecode ? 1 : length;
  const speed = (time: number | undefined): number | undefined =>
    time === undefined ? undefined : rounded((tokens / time) * 1000);
  const name = `${isDecode ? "decode after" : "prefill of"} ${length}, ${textOf(host)}`;
  const common = {
    tokensPerSecond: speed(timing.median),
    ...stepCost(host, tokens, isDecode ? length : 0),
    samples: timing.samples,
  };
  if (peers.length === 0) return [rowOf(name, timing.median, null, null, common)];
  return peers.map((peer, index) => {
    const time = theirs[index]?.median ?? null;
    // The goal is for the peer that stores what ours does.
    const goal = host.format === GOAL_FORMAT && index === 0 ? GOALS[kind] : undefined;
    return rowOf(name, timing.median, peer.name, time, {
      ...goalIn(setting, goal),
      peerTokensPerSecond: speed(time ?? undefined),
      ...common,
      ...comparisons[index],
    });
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
