import { foldIn, randomKey } from "@moiety/core";
import type { RandomKey } from "@moiety/core";

/** What a run draws at random; each has a stream of its own, so none disturbs another. */
export type Stream = "batches" | "heldOut" | "sparse" | "dense";

const streamNumbers: Readonly<Record<Stream, number>> = {
  batches: 0,
  heldOut: 1,
  sparse: 2,
  dense: 3,
};

/** The key of one stream of a run. */
export function streamKey(seed: number, stream: Stream): RandomKey {
  return foldIn(randomKey(seed), streamNumbers[stream]);
}

/** A whole number from 0 to `count` − 1 from 32 random bits, each as likely as the others. */
export function choice(bits: number, count: number): number {
  return Math.floor((bits / 2 ** 32) * count);
}
