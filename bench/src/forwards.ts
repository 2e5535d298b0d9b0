import type { Backend } from "@moiety/core";
import { driverOf } from "@moiety/backend-webgpu";
import { type LayerParams, type MeasuredLayer, forward, forwardOperations } from "./layer.ts";
import type { Peer } from "./peer.ts";
import { type Reference, errorOf, referenceOf } from "./reference.ts";
import { type Row, rounded, rowOf } from "./rows.ts";
import { type Contestant, type Patience, type Timing, race } from "./timing.ts";
import { type HostWeights, type LayerSizes, hostInput } from "./weights.ts";

/** What all contestants share. */
export interface Task {
  readonly weights: HostWeights;
  readonly sizes: LayerSizes;
  readonly layer: MeasuredLayer;
  readonly patience: Patience;
}

/** A backend that holds the layer's parameters. */
export interface Holder {
  readonly backend: Backend;
  readonly params: LayerParams;
}

/** Tokens of a batch that are held against the reference. */
const COMPARED = 16;
/** The largest error, as a share of the largest value, of float32 and of 8-bit activations. */
const OURS_MAY_ERR = 1e-4;
const PEER_MAY_ERR = 0.05;
/** A peer of which more runs than this are wrong is not timed. */
const WRONG_RUNS = 0.25;
/** A peer is left out where one run would take longer than so many milliseconds. */
const LONGEST_RUN = 15_000;
/** Decode: at most so many tokens, and so many dispatches. */
const DECODE = { tokens: 8, dispatches: 5 } as const;
/** What is aimed at beside the peer, at this number of tokens. */
const GOAL = { tokens: 128, ratio: 3 } as const;

/** Times the layer's forward pass, from x on the host to y on the host, for one T after another. */
export class Forwards {
  /** What does not hold that should. */
  readonly problems: string[] = [];
  readonly #task: Task;
  readonly #ours: Holder;
  readonly #varying: Holder;
  readonly #peer: Peer | undefined;
  /** The peer's last time, from which the next is foretold. */
  #last: { readonly tokens: number; readonly time: number } | undefined;

  /** `varying` computes as `ours` does, but need not give a token the same bits in every batch. */
  constructor(task: Task, ours: Holder, varying: Holder, peer: Peer | undefined) {
    this.#task = task;
    this.#ours = ours;
    this.#varying = varying;
    this.#peer = peer;
  }

  /** Two rows: beside the peer, and beside the order of sums that may vary with the batch. */
  async measure(tokens: number): Promise<Row[]> {
    const { weights, sizes, patience } = this.#task;
    const input = hostInput(tokens, sizes.hidden);
    const wanted = referenceOf(weights, sizes, input, COMPARED);
    const { error, output } = await this.#rightOutput(this.#ours, input, wanted);
    const other = await this.#rightOutput(this.#varying, input, wanted);
    const sameBits = output.every((value, index) => value === other.output[index]);
    const dispatches = await this.#dispatches(this.#ours, input);
    if (tokens <= DECODE.tokens && dispatches > DECODE.dispatches) {
      this.problems.push(
        `T = ${tokens}: ${dispatches} dispatches, but at most ${DECODE.dispatches} are allowed`,
      );
    }
    const peerErrors: number[] = [];
    const peer = this.#peerFor(tokens, input, wanted, peerErrors);
    const contestants = [
      this.#contestant(this.#ours, input),
      this.#contestant(this.#varying, input),
    ];
    const timings = await race(
      [...contestants, ...(peer.contestant ? [peer.contestant] : [])],
      patience,
    );
    const [ours, varying, theirs] = timings as [Timing, Timing, Timing?];
    if (theirs && theirs.samples > 0) this.#last = { tokens, time: theirs.median };
    const outcome: Outcome = theirs ? judge(theirs, tokens) : { note: peer.note };
    const operations = forwardOperations(sizes, tokens);
    return [
      rowOf(`forward, T = ${tokens}`, ours.median, this.#peer?.name ?? null, outcome.time ?? null, {
        ...(tokens === GOAL.tokens && { goal: GOAL.ratio }),
        gflops: rounded(operations / ours.median / 1e6),
        dispatches,
        samples: ours.samples,
        error: rounded(error),
        ...(peerErrors.length > 0 && { peerError: rounded(Math.min(...peerErrors)) }),
        ...(outcome.note !== undefined && { note: outcome.note }),
      }),
      rowOf(
        `forward, T = ${tokens}: batchInvariant`,
        ours.median,
        "moiety with batchInvariant: false",
        varying.median,
        {
          samples: varying.samples,
          ...(sameBits && {
            note: `T = ${tokens}: with batchInvariant: false the bits are the same`,
          }),
        },
      ),
    ];
  }

  /** Whether the peer takes part, and if not why. */
  #peerFor(
    tokens: number,
    input: Float32Array,
    wanted: Reference,
    errors: number[],
  ): { readonly contestant?: Contestant; readonly note?: string } {
    const peer = this.#peer;
    if (peer === undefined) return { note: "without peers (--no-peers)" };
    const foretold = this.#last ? (this.#last.time / this.#last.tokens) * tokens : 0;
    if (foretold > LONGEST_RUN) {
      const seconds = Math.round(foretold / 1000);
      return {
        note: `T = ${tokens}: the peer was left out, a run of it would take about ${seconds} s`,
      };
    }
    const check = (output: Float32Array): boolean => {
      const error = errorOf(wanted, output);
      errors.push(error);
      return error <= PEER_MAY_ERR;
    };
    return { contestant: { run: () => peer.run(input), check } };
  }

  #contestant(holder: Holder, input: Float32Array): Contestant {
    return { run: () => this.#outputOf(holder, input) };
  }

  async #outputOf({ backend, params }: Holder, input: Float32Array): Promise<Float32Array> {
    const { layer, sizes } = this.#task;
    const y = backend.scope(() => {
      const x = backend.tensor(input, { shape: [input.length / sizes.hidden, sizes.hidden] });
      return forward(layer, params, x);
    });
    const output = await y.read();
    y.dispose();
    return output as Float32Array;
  }

  /** An output with its error. @throws Error where it is wrong */
  async #rightOutput(
    holder: Holder,
    input: Float32Array,
    wanted: Reference,
  ): Promise<{ readonly error: number; readonly output: Float32Array }> {
    const output = await this.#outputOf(holder, input);
    const error = errorOf(wanted, output);
    if (error <= OURS_MAY_ERR) return { error, output };
    const { batchInvariant } = holder.backend.capabilities;
    throw new Error(
      `the layer computes wrong (batchInvariant: ${batchInvariant}): the worst value is off by ` +
        `${rounded(error)} of the largest, but at most ${OURS_MAY_ERR} is allowed`,
    );
  }

  /** Dispatches of one forward pass. */
  async #dispatches(holder: Holder, input: Float32Array): Promise<number> {
    const driver = driverOf(holder.backend);
    if (driver === undefined) throw new Error("this backend does not count its dispatches");
    await holder.backend.sync();
    const before = driver.counters().dispatches;
    await this.#outputOf(holder, input);
    return driver.counters().dispatches - before;
  }
}

/** A peer's time, or why there is none. */
interface Outcome {
  readonly time?: number | undefined;
  readonly note?: string | undefined;
}

/** A peer's time, where it computes right often enough. */
function judge({ median, runs, wrong }: Timing, tokens: number): Outcome {
  if (wrong === 0) return { time: median };
  const note = `T = ${tokens}: ${wrong} of ${runs} runs of the peer gave wrong results`;
  if (wrong / runs > WRONG_RUNS) return { note: `${note}, so it is not timed` };
  return { time: median, note: `${note}, which are not in its median` };
}
