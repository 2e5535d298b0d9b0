import { type Backend, type Tensor, attention, hostNormal, randomKey, sizeOf } from "@moiety/core";
import { worstError } from "../reference.ts";
import { type Row, rounded, rowOf } from "../rows.ts";
import { type Timing, race } from "../timing.ts";
import type { Setting } from "./setting.ts";
import { warmUp } from "./warm.ts";

/** Batch, tokens, heads, width of a head: the lab's, and one longer sequence. */
const SHAPES = [
  [16, 128, 4, 24],
  [1, 512, 8, 64],
] as const;
/** The largest error, as a share of the largest value. */
const MAY_ERR = 1e-5;
/** The oracle is slow: so many of its runs have to do. */
const ORACLE_SAMPLES = 3;

/** Times causal attention against the oracle. */
export async function measureAttention(
  setting: Setting,
  backend: Backend,
  oracle: Backend,
): Promise<Row[]> {
  const rows: Row[] = [];
  for (const shape of SHAPES) {
    const [found, wanted] = [problem(backend, shape), problem(oracle, shape)];
    // oxlint-disable-next-line no-await-in-loop -- one at a time is the point
    const error = worstError(await wanted.output(), await found.output());
    if (!(error <= MAY_ERR)) throw new Error(`attention is off by ${rounded(error)}`);
    // oxlint-disable-next-line no-await-in-loop -- one at a time is the point
    await warmUp([found.run]);
    // oxlint-disable-next-line no-await-in-loop -- one at a time is the point
    const [ours] = await race([{ run: found.run }], setting.patience);
    const slow = { samples: ORACLE_SAMPLES, limit: setting.patience.limit };
    // oxlint-disable-next-line no-await-in-loop -- one at a time is the point
    const [theirs] = await race([{ run: wanted.run }], slow);
    rows.push(rowFor(shape, ours, theirs, error));
    found.dispose();
    wanted.dispose();
  }
  return rows;
}

type AttentionShape = (typeof SHAPES)[number];

interface Problem {
  run(): Promise<undefined>;
  output(): Promise<Float32Array>;
  dispose(): void;
}

function problem(backend: Backend, shape: AttentionShape): Problem {
  const size = sizeOf(shape);
  const draw = (seed: number): Tensor =>
    backend.tensor(Float32Array.from(hostNormal(randomKey(seed), size)), { shape });
  const [q, k, v] = [draw(1), draw(2), draw(3)];
  const compute = (): Tensor =>
    attention(q, k, v, undefined, undefined, {
      causal: true,
      scale: shape[3] ** -0.5,
      position: 0,
    });
  return {
    async run() {
      compute().dispose();
      await backend.sync();
      return undefined;
    },
    async output() {
      const y = compute();
      const values = await y.read();
      y.dispose();
      return values as Float32Array;
    },
    dispose() {
      for (const tensor of [q, k, v]) tensor.dispose();
    },
  };
}

function rowFor(
  [batch, tokens, heads, width]: AttentionShape,
  ours: Timing | undefined,
  theirs: Timing | undefined,
  error: number,
): Row {
  if (ours === undefined || theirs === undefined) throw new Error("nothing was timed");
  const pairs = (tokens * (tokens + 1)) / 2;
  const operations = 4 * batch * heads * pairs * width;
  const bytes = 4 * batch * tokens * heads * width * Float32Array.BYTES_PER_ELEMENT;
  return rowOf(
    `attention, causal, B ${batch} T ${tokens} heads ${heads} × ${width}`,
    ours.median,
    "moiety's oracle",
    theirs.median,
    {
      operations,
      bytes,
      samples: ours.samples,
      error: rounded(error),
    },
  );
}
