import { type Backend, randomKey } from "@moiety/core";
import { type Learner, type LearnerEvent, createLearner } from "../../../apps/lab/src/learner.ts";
import { modelOf } from "../../../apps/lab/src/model-config.ts";
import { newSettings } from "../../../apps/lab/src/settings.ts";
import type { Batch } from "../../../apps/lab/src/windows.ts";
import { type Row, rounded, rowOf } from "../rows.ts";
import { type Timing, race } from "../timing.ts";
import type { Setting } from "./setting.ts";
import { warmUp } from "./warm.ts";

/** The largest difference of a step's loss from the oracle's, as a share of it. */
const MAY_ERR = 1e-4;
/** Tokens in a second that PyTorch trains with the same model, on two threads of such a machine. */
const PYTORCH_TOKENS_PER_SECOND = 14_500;
const ORACLE_SAMPLES = 3;
const STEPS = 1000;
const BYTES = 256;
const SEED = 5;

/** Times the lab's step of training, in the sizes that were measured with PyTorch. */
export async function measureTraining(
  setting: Setting,
  backend: Backend,
  oracle: Backend,
): Promise<Row[]> {
  const [found, wanted] = [training(backend), training(oracle)];
  const [first, right] = [await found.step(), await wanted.step()];
  const error = Math.abs(first.loss - right.loss) / Math.abs(right.loss);
  if (!(error <= MAY_ERR)) {
    throw new Error(`the first step's loss is ${first.loss}, the oracle's ${right.loss}`);
  }
  const timed = async (run: Training, samples: number): Promise<Timing> => {
    const [timing] = await race([{ run: () => run.step().then(() => undefined) }], {
      samples,
      limit: setting.patience.limit,
    });
    if (timing === undefined) throw new Error("nothing was timed");
    return timing;
  };
  await warmUp([() => found.step()]);
  const ours = await timed(found, setting.patience.samples);
  const theirs = await timed(wanted, ORACLE_SAMPLES);
  for (const run of [found, wanted]) {
    // oxlint-disable-next-line no-await-in-loop -- one at a time
    await run.end();
  }
  const { tokens } = found;
  const speed = (time: number): number => rounded((tokens / time) * 1000);
  return [
    rowOf("training step of the lab (anchor)", ours.median, "moiety's oracle", theirs.median, {
      goal: 10,
      samples: ours.samples,
      tokensPerSecond: speed(ours.median),
      tokensPerSecondGoal: PYTORCH_TOKENS_PER_SECOND,
      oracleTokensPerSecond: speed(theirs.median),
      error: rounded(error),
    }),
  ];
}

interface Training {
  readonly tokens: number;
  step(): Promise<LearnerEvent>;
  end(): Promise<void>;
}

function training(backend: Backend): Training {
  const settings = {
    ...newSettings({ preset: "anchor", seed: SEED, steps: STEPS }),
    text: null,
    textDigest: "",
  };
  const key = randomKey(SEED);
  const learner: Learner = createLearner(
    "sparse",
    modelOf("sparse", settings),
    settings,
    key,
    backend,
  );
  const { batchSize: rows, sequenceLength: length } = settings.training;
  const steps = learner.learn(learner.start(STEPS), (step) => batchOf(step, rows, length));
  return {
    tokens: rows * length,
    async step() {
      const { value, done } = await steps.next();
      if (done) throw new Error("the training has ended");
      return value;
    },
    async end() {
      await steps.return(undefined as never);
    },
  };
}

/** Random bytes: how quick a step is does not depend on what it reads. */
function batchOf(step: number, rows: number, length: number): Batch {
  const draw = (salt: number): Int32Array<ArrayBuffer> =>
    Int32Array.from({ length: rows * length }, (_, index) => {
      const bits = Math.imul(index + 1 + salt + step * rows * length, 0x9e3779b1);
      return (bits >>> 16) % BYTES;
    });
  return { inputs: draw(0), targets: draw(1), rows, length, domains: [] };
}
