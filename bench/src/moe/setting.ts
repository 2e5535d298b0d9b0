import type { Patience } from "../timing.ts";

/** What all measurements of one process share. */
export interface Setting {
  readonly threads: number;
  /** Major version of Node, and what a row calls it. */
  readonly node: number;
  readonly patience: Patience;
  /** Whether onnxruntime is measured beside us. */
  readonly peers: boolean;
}

/** Goals hold on two threads under this version. */
const GOALS = { threads: 2, node: 24 } as const;

/** A goal, in a setting that goals are for. */
export function goalIn(
  { threads, node }: Setting,
  goal: number | undefined,
): { readonly goal?: number } {
  const counts = threads === GOALS.threads && node === GOALS.node && goal !== undefined;
  return counts ? { goal } : {};
}
