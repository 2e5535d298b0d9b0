import type { AbortLike } from "@moiety/checkpoints";
import type { RandomKey } from "@moiety/core";
import type { DecoderModel } from "../decoder/decoder.ts";
import type { DecoderParams, DecoderState } from "../decoder/params.ts";
import { expertLayers } from "../trace/expert-layers.ts";
import { readRouting } from "../trace/routing-table.ts";
import { records } from "../trace/trace-routings.ts";
import { PromptBatch, type TokenColumns, columnOf } from "./batch.ts";
import { candidatesFor, chooseTokens, sequenceKeys } from "./choose.ts";
import { type GenerateOptions, capacityFor, chunkOf } from "./options.ts";
import { rotaryLimits } from "./rotary-limits.ts";
import { Session, type Step, disposeStep } from "./session.ts";
import { turn } from "./turn.ts";

/** What a continuation's parts share. */
interface Run {
  readonly session: Session;
  /** The most columns that go through the model at once. */
  readonly chunk: number;
  readonly signal: AbortLike | undefined;
}

type Report = (step: Step, columns: TokenColumns) => Promise<void>;

/**
 * Continues prompts side by side. Each step gives a token for each sequence, `undefined` for those
 * that have ended; it is over when all have. Prompts and options were checked before.
 */
export async function* continuation(
  model: DecoderModel,
  params: DecoderParams,
  state: DecoderState,
  prompts: readonly (readonly number[])[],
  options: GenerateOptions,
): AsyncGenerator<(number | undefined)[], void, undefined> {
  const { maxNewTokens, seed = 0, stop = [], signal, onRouted } = options;
  if (maxNewTokens === 0) return;
  await requireGoingOn(signal);
  const batch = new PromptBatch(prompts);
  const session = openSession(model, params, state, batch, options);
  const run = { session, chunk: chunkOf(model.config, batch.width, options.prefillChunk), signal };
  const report = onRouted && reporter(model, prompts.length, onRouted);
  const limits = rotaryLimits(model.config);
  const sequences = prompts.map((prompt) => [...prompt]);
  const keys: (RandomKey | undefined)[] = [...sequenceKeys(seed, prompts.length)];
  try {
    const last = lastChunk(batch.width, run.chunk);
    await readUpTo(run, batch, last, batch.width, report);
    let columns = batch.columns(last, batch.width - last);
    for (let count = 0; ; count++) {
      const step = await session.advance(columns);
      const tokens = await withStep(step, async () => {
        await report?.(step, columns);
        return chooseTokens(step, count, keys, options);
      });
      for (const [sequence, token] of tokens.entries()) {
        if (token !== undefined && stop.includes(token)) keys[sequence] = undefined;
      }
      columns = columnOf(tokens.map((token, sequence) => keys[sequence] && token));
      yield [...tokens];
      if (count + 1 === maxNewTokens || keys.every((key) => key === undefined)) return;
      await requireGoingOn(signal);
      if (limits.has(session.length)) await readAgain(run, liveOnly(sequences, keys));
      for (const [sequence, token] of tokens.entries()) {
        if (token !== undefined) sequences[sequence]?.push(token);
      }
    }
  } finally {
    session.dispose();
  }
}

function openSession(
  model: DecoderModel,
  params: DecoderParams,
  state: DecoderState,
  { batch, width }: PromptBatch,
  options: GenerateOptions,
): Session {
  return new Session({
    model,
    params,
    state,
    batch,
    capacity: options.capacity ?? capacityFor(width, options.maxNewTokens),
    candidates: candidatesFor(options, model.config.vocabSize),
    routed: options.onRouted !== undefined,
  });
}

/** Where the last chunk of so many columns begins. */
function lastChunk(width: number, chunk: number): number {
  return Math.floor((width - 1) / chunk) * chunk;
}

/**
 * Runs the columns before `end`, chunk by chunk, as a part of `length` columns. What the model says
 * of them is not wanted.
 */
async function readUpTo(
  { session, chunk, signal }: Run,
  batch: PromptBatch,
  end: number,
  length: number,
  report?: Report,
): Promise<void> {
  for (let start = 0; start < end; start += chunk) {
    const columns = batch.columns(start, Math.min(chunk, end - start));
    const step = await session.advance(columns, length);
    await withStep(step, () => report?.(step, columns) ?? step.logits.backend.sync());
    await requireGoingOn(signal);
  }
}

/** Fills the cache anew, as of sequences that are one token longer. */
async function readAgain(run: Run, sequences: readonly (readonly number[])[]): Promise<void> {
  const { length } = run.session;
  const batch = new PromptBatch(sequences, length);
  run.session.restart();
  await readUpTo(run, batch, length, length + 1);
}

/** The sequences, without the tokens of those that have ended. */
function liveOnly(
  sequences: readonly (readonly number[])[],
  keys: readonly (RandomKey | undefined)[],
): (readonly number[])[] {
  return sequences.map((tokens, sequence) => (keys[sequence] ? tokens : []));
}

/** Does something with a step and frees it. */
async function withStep<T>(step: Step, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } finally {
    disposeStep(step);
  }
}

/** Tells of every token of a step where it went. */
function reporter(
  { config }: DecoderModel,
  batch: number,
  onRouted: NonNullable<GenerateOptions["onRouted"]>,
): Report {
  const layers = expertLayers(config).map(({ layer }) => layer);
  const before = new Array<number>(batch).fill(0);
  return async (step, columns) => {
    const { count: tokens } = columns;
    const tables = await Promise.all(step.routings.map(readRouting));
    for (const record of records(tables, layers, { ...columns, tokens, before })) {
      before[record.sequence] = record.position + 1;
      onRouted(record);
    }
  };
}

async function requireGoingOn(signal: AbortLike | undefined): Promise<void> {
  if (signal === undefined) return;
  await turn();
  if (signal.aborted) throw signal.reason;
}
