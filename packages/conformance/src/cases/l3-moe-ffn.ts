import type { CaseContext, ConformanceCase } from "../case.ts";
import type { HostTensor } from "../host-tensor.ts";
import {
  BANKS,
  type Bank,
  FFN_OPS,
  type FfnHosts,
  type FfnShape,
  GPT_OSS,
  USUAL,
  ffn,
  ffnHosts,
} from "./l3-ffn-support.ts";
import { type CaseParts, caseOf, holds, mapped, tilesOf } from "./l3-support.ts";

const SHAPE: FfnShape = { tokens: 9, experts: 5, topK: 2, input: 12, inner: 7, output: 10 };

/** A case of the whole expert path. */
export const ffnCase = (
  what: string,
  demand: string,
  run: (test: CaseContext) => Promise<void>,
  more: Partial<CaseParts> = {},
): ConformanceCase => caseOf("L3", `moe-ffn/${what}`, { demand, ops: FFN_OPS, run, ...more });

/** Holds one call to the references. */
export async function checkFfn(
  test: CaseContext,
  hosts: FfnHosts,
  { descriptor }: Bank = USUAL,
): Promise<void> {
  await holds(test, hosts, (given) => ({ y: ffn(given, descriptor) }));
}

const shapeCase = (
  what: string,
  demand: string,
  shape: Partial<FfnShape>,
  bank: Bank = USUAL,
  more?: Partial<CaseParts>,
): ConformanceCase =>
  ffnCase(
    what,
    demand,
    (test) => checkFfn(test, ffnHosts(test, bank, { ...SHAPE, ...shape }), bank),
    more,
  );

/** The inputs with every choice mapped. */
function rechosen(hosts: FfnHosts, map: (expert: number, place: number) => number): FfnHosts {
  return { ...hosts, indices: mapped(hosts.indices, map) };
}

const TOKENS = [0, 1, 2, 8, 9, 33, 130] as const;
const EXPERTS = [1, 2, 7, 8, 31, 32, 33, 64, 128, 129, 288] as const;
const WIDTHS = [1, 3, 4, 5, 15, 16, 17, 31, 33, 63, 64, 65, 129] as const;

const descriptors = Object.entries(BANKS).map(([name, bank]) =>
  ffnCase(
    `bank-${name}`,
    `a ${name} bank is read by its descriptor, in a batch and for a single token`,
    async (test) => {
      await checkFfn(test, ffnHosts(test, bank, SHAPE), bank);
      await checkFfn(test, ffnHosts(test, bank, { ...SHAPE, tokens: 1 }), bank);
    },
  ),
);

const shapes: readonly ConformanceCase[] = [
  ...TOKENS.map((tokens) =>
    shapeCase(`tokens-${tokens}`, `${tokens} tokens each get their own experts' outputs`, {
      tokens,
      experts: 8,
      input: 16,
    }),
  ),
  ...EXPERTS.map((experts) =>
    shapeCase(`experts-${experts}`, `${experts} experts keep their rows apart`, {
      experts,
      topK: Math.min(2, experts),
      tokens: 17,
      input: 5,
      inner: 3,
    }),
  ),
  shapeCase("one-choice", "one choice each: k = 1", { topK: 1 }),
  shapeCase("all-experts", "every expert chosen: k = E", { topK: 5 }),
  shapeCase("many-choices", "k = 8 of 32", { topK: 8, experts: 32, tokens: 33 }),
  ...WIDTHS.map((size) =>
    ffnCase(`width-${size}`, `widths of ${size} keep their last tile`, async (test) => {
      for (const part of [{ input: size }, { inner: size }, { output: size }]) {
        await checkFfn(test, ffnHosts(test, USUAL, { ...SHAPE, ...part }));
      }
    }),
  ),
  ffnCase(
    "tiles",
    "counts of tokens and widths around the tiles of the manifest keep their last tile",
    async (test) => {
      for (const tile of tilesOf(test.capabilities)) {
        for (const size of [tile - 1, tile, tile + 1].filter((one) => one > 0)) {
          const narrow = { ...SHAPE, input: 4, inner: 3, output: 2 };
          await checkFfn(test, ffnHosts(test, USUAL, { ...narrow, tokens: size, experts: 2 }));
          await checkFfn(test, ffnHosts(test, USUAL, { ...narrow, input: size }));
          await checkFfn(test, ffnHosts(test, USUAL, { ...narrow, inner: size }));
        }
      }
    },
    {
      unsupported: (capabilities) =>
        tilesOf(capabilities).length === 0 ? "the manifest names no tileSizes" : undefined,
    },
  ),
  shapeCase(
    "many-assignments",
    "T · k above 65 535 assignments are all computed",
    { tokens: 33_001, topK: 2, experts: 4, input: 2, inner: 2, output: 2 },
    { descriptor: { activation: "relu" } },
    { heavy: true },
  ),
];

const routes: readonly ConformanceCase[] = [
  ...[0, 2, 4].map((expert) =>
    ffnCase(
      `all-to-${expert}`,
      `every choice of every token is expert ${expert}, and the others have no rows`,
      (test) =>
        checkFfn(
          test,
          rechosen(ffnHosts(test, USUAL, { ...SHAPE, tokens: 70 }), () => expert),
        ),
    ),
  ),
  ffnCase("half-empty", "every second expert has no rows", (test) =>
    checkFfn(
      test,
      rechosen(ffnHosts(test, GPT_OSS, { ...SHAPE, tokens: 33 }), (expert) => 2 * (expert % 2) + 1),
      GPT_OSS,
    ),
  ),
  ffnCase(
    "no-expert",
    "index E is no expert: it adds nothing, whatever its weight",
    async (test) => {
      for (const bank of [USUAL, GPT_OSS, BANKS["input-weights-biases"] ?? USUAL]) {
        const hosts = ffnHosts(test, bank, { ...SHAPE, tokens: 40 });
        await checkFfn(
          test,
          rechosen(hosts, (expert, place) => (place % 3 === 0 ? 5 : expert)),
          bank,
        );
      }
    },
  ),
  ffnCase("no-expert-at-all", "where no token has an expert every output is 0", async (test) => {
    await checkFfn(
      test,
      rechosen(ffnHosts(test, GPT_OSS, SHAPE), () => 5),
      GPT_OSS,
    );
    const alone = ffnHosts(test, GPT_OSS, { ...SHAPE, tokens: 1 });
    await checkFfn(
      test,
      rechosen(alone, () => 5),
      GPT_OSS,
    );
  }),
  ffnCase("same-tokens", "equal tokens that choose alike get equal outputs", async (test) => {
    const hosts = ffnHosts(test, USUAL, { ...SHAPE, tokens: 36 });
    const repeated = (tensor: HostTensor): HostTensor => {
      const width = tensor.data.length / 36;
      return mapped(tensor, (_, index) => tensor.data[index % (3 * width)] ?? 0);
    };
    const { x, indices, outputWeights } = hosts;
    await checkFfn(test, {
      ...hosts,
      x: repeated(x),
      indices: repeated(indices),
      outputWeights: repeated(outputWeights),
    });
  }),
];

/** Cases of `moeFfn` by descriptor, shape and route. */
export const moeFfnCases: readonly ConformanceCase[] = [...descriptors, ...shapes, ...routes];
