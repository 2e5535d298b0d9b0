import { type ConformanceCase, type LossSubject, lossCases } from "@moiety/conformance";
import { type Backend, type FloatDType, hostUniform, randomKey } from "@moiety/core";
import { type CatalogueOptions, type LossEntry, lossCatalogue } from "@moiety/losses";
import { routerCatalogue } from "@moiety/routers";
import { SIZES, TARGET, VOCABULARY } from "./sizes.ts";

/** Tokens of a routing. */
const TOKENS = 18;

/** Losses whose routing must carry something, and a router whose routing does; others: Mixtral's. */
const ROUTERS: Readonly<Record<string, string>> = {
  dogeBalance: "dogeRouter",
  huggingFaceSwitchBalance: "switchRouter",
  loadCv: "noisyTopKRouter",
  nllbBalance: "nllbRouter",
  reinforceLoss: "reinforceRouter",
  reluSparsity: "reluRouter",
  stMoeBalance: "gshardRouter",
  vmoeLosses: "noisyTopKRouter",
};

/** Losses that have no load to hold to a target. */
const UNTARGETED: readonly string[] = [
  "dogeBalance",
  "reinforceLoss",
  "reluSparsity",
  "tokenEntropyLoss",
  "zLoss",
];

/** Losses whose gradient is not that of their value, and what it is instead. */
export const SURROGATES: Readonly<Record<string, string>> = {
  reinforceLoss: "−(r − b) · ∇ log π, rewards and baseline held constant",
};

/** What each of some tokens earned. */
export function rewardsOf(tokens: number): number[] {
  return Array.from(hostUniform(randomKey(3), tokens), Math.fround);
}

/** The losses of the catalogue, each with an even target and, where it takes one, an uneven one. */
export const lossSubjects: readonly LossSubject[] = lossCatalogue.flatMap((entry) => {
  const { name } = entry;
  const targeted = { ...subjectOf(entry, TARGET), name: `catalogue/${name}-target` };
  return UNTARGETED.includes(name) ? [subjectOf(entry)] : [subjectOf(entry), targeted];
});

/** Cases of every loss of the catalogue. */
export const catalogueLossCases: readonly ConformanceCase[] = lossSubjects.flatMap((subject) =>
  lossCases(subject),
);

function subjectOf(entry: LossEntry, target?: readonly number[]): LossSubject {
  const { name } = entry;
  const wanted = ROUTERS[name] ?? "mixtralRouter";
  const router = routerCatalogue.find((one) => one.name === wanted);
  return {
    name: `catalogue/${name}`,
    router: router?.make({ ...SIZES, vocabSize: VOCABULARY }),
    vocabSize: VOCABULARY,
    losses: (backend, float) => entry.make(optionsOf(backend, float, target)),
    ofFunction: !Object.hasOwn(SURROGATES, name),
  };
}

function optionsOf(
  backend: Backend,
  float: FloatDType,
  target: readonly number[] | undefined,
): CatalogueOptions {
  const reward = backend.tensor(rewardsOf(TOKENS), { shape: [TOKENS], dtype: float });
  return { coefficient: 1, devices: 3, topK: SIZES.topK, reward, target };
}
