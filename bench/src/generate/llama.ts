import type { Continuer } from "./ours.ts";

/** What is used of `node-llama-cpp`, which lies in this folder's own `node_modules`. */
interface LlamaPackage {
  getLlama(options: object): Promise<Llama>;
  getModuleVersion(): Promise<string>;
}

interface Llama {
  /** What the binary was built of: a tag of llama.cpp's repository. */
  readonly llamaCppRelease: { readonly release: string };
  loadModel(options: object): Promise<LlamaModel>;
  dispose(): Promise<void>;
}

interface LlamaModel {
  createContext(options: object): Promise<LlamaContext>;
  dispose(): Promise<void>;
}

interface LlamaContext {
  readonly currentThreads: number;
  getSequence(): LlamaSequence;
  dispose(): Promise<void>;
}

interface LlamaSequence {
  clearHistory(): Promise<void>;
  evaluate(tokens: readonly number[], options: object): AsyncGenerator<number, void, undefined>;
  controlledEvaluate(
    tokens: readonly (readonly [token: number, options: object])[],
  ): Promise<
    readonly ({ readonly next: { readonly probabilities: Map<number, number> } } | undefined)[]
  >;
}

/** How the peer holds the model. */
export interface LlamaOptions {
  readonly file: string;
  /** What the file's matrices are stored in, for the name. */
  readonly storage: string;
  readonly threads: number;
  /** Tokens of a sequence. */
  readonly contextSize: number;
  /** Tokens that go through the model at once: what ours takes. */
  readonly batchSize: number;
  /** Whether attention is computed in float32: by itself llama.cpp rounds keys and values to half floats. */
  readonly wideAttention: boolean;
}

const GREEDY = { temperature: 0, yieldEogToken: true } as const;

/** The model of a GGUF file in llama.cpp's prebuilt binary, on the CPU. */
export async function llamaModel(options: LlamaOptions): Promise<Continuer> {
  const { threads, contextSize, batchSize, wideAttention } = options;
  const { getLlama, getModuleVersion } = (await import(PACKAGE)) as LlamaPackage;
  const llama = await getLlama({
    gpu: false,
    build: "never",
    skipDownload: true,
    progressLogs: false,
    logLevel: "error",
    maxThreads: threads,
  });
  const model = await llama.loadModel({ modelPath: options.file, gpuLayers: 0 });
  const wide = {
    flashAttention: false,
    experimentalKvCacheKeyType: "F32",
    experimentalKvCacheValueType: "F32",
  };
  const context = await model.createContext({
    sequences: 1,
    contextSize,
    batchSize,
    threads: { ideal: threads, min: threads },
    ...(wideAttention && wide),
  });
  const sequence = context.getSequence();
  const { release } = llama.llamaCppRelease;
  return {
    name: `llama.cpp ${release} (${PACKAGE} ${await getModuleVersion()}), ${options.storage}`,
    async logProbabilities(prompt) {
      await sequence.clearHistory();
      const wanted = { generateNext: { probabilities: true, options: GREEDY } };
      const found = await sequence.controlledEvaluate(prompt.map((token) => [token, wanted]));
      if (context.currentThreads !== threads) {
        throw new Error(
          `llama.cpp runs on ${context.currentThreads} threads instead of ${threads}`,
        );
      }
      return found.map((output) => logarithms(output?.next.probabilities ?? new Map()));
    },
    async *start(prompt, maxNewTokens) {
      await sequence.clearHistory();
      let count = 0;
      for await (const token of sequence.evaluate(prompt, GREEDY)) {
        yield token;
        if (++count === maxNewTokens) return;
      }
    },
    async dispose() {
      await context.dispose();
      await model.dispose();
      await llama.dispose();
    },
  };
}

/** Installed by the first benchmark, so no compiler may follow the name. */
const PACKAGE: string = "node-llama-cpp";

function logarithms(probabilities: ReadonlyMap<number, number>): Float64Array {
  const result = new Float64Array(probabilities.size);
  for (const [token, probability] of probabilities) result[token] = Math.log(probability);
  return result;
}
