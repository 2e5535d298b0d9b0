import type { RouteAttributes } from "@moiety/core";
import type { Body } from "../../emit/body.ts";
import { F32, I32 } from "../../emit/scalars.ts";
import { F32x4 } from "../../emit/vectors.ts";
import type { Kernel, KernelCall } from "../../kernel.ts";
import { type Arguments, type Routine, defineRoutine } from "../../routine.ts";
import { NO_KEY, keyOf, keysOf } from "../reduction/keys.ts";
import { wordAt } from "../reduction/lanes.ts";
import { pickInRounds } from "./best.ts";
import { ROUTE_PARAMETERS, planRoute } from "./route-plan.ts";
import { eachFour, eachToken, scoreRow, squashRow } from "./route-scores.ts";
import { finishWeights, weighRow } from "./route-weights.ts";
import { hideKeys } from "./top-k.ts";

const PARAMETERS = {
  ...ROUTE_PARAMETERS,
  scores: I32,
  indices: I32,
  weights: I32,
  /** Addresses of what may be absent, or 0. */
  bias: I32,
  mask: I32,
  byLogits: I32,
  /** Number of groups, 0 where they don't matter. */
  groups: I32,
  groupSize: I32,
  groupsKept: I32,
  /** How many of a group's best are added up for its score. */
  groupTop: I32,
  /** What becomes of the keys in other groups. */
  closedKey: I32,
} as const;

type RouteTopKArguments = Arguments<typeof PARAMETERS>;

const routeTokens = /*#__PURE__*/ defineRoutine("routeTokens", PARAMETERS, (body, args, task) => {
  const { experts, k } = args;
  eachToken(body, args, task, (token, room) => {
    const start = body.let(token.mul(experts).shl(2));
    const scores = body.let(args.scores.add(start));
    const indices = body.let(wordAt(args.indices, token.mul(k)));
    const weights = body.let(wordAt(args.weights, token.mul(k)));
    const logits = squashRow(body, args, body.let(args.logits.add(start)), room);
    scoreRow(body, args, logits, scores);
    const compared = body.let(logits.select(args.byLogits, scores));
    const mask = body.let(args.mask.add(start));
    chooseExperts(body, args, { compared, mask, indices, weights, room });
    weighRow(body, args, { logits, scores, indices }, weights);
    finishWeights(body, args, weights);
  });
});

interface Choosing {
  readonly compared: I32;
  readonly mask: I32;
  readonly indices: I32;
  /** Holds keys before it holds weights. */
  readonly weights: I32;
  readonly room: I32;
}

/** The k best experts of a token. */
function chooseExperts(
  body: Body,
  args: RouteTopKArguments,
  { compared, mask, indices, weights, room }: Choosing,
): void {
  const { experts, k, bias } = args;
  // Behind the squashed logits, in rows of whole vectors.
  const rowBytes = body.let(experts.add(3).and(-4).shl(2));
  const keys = body.let(room.add(rowBytes));
  eachFour(body, experts, (at) => {
    const biased = body.let(F32x4.load(compared.add(at)));
    body.if(bias, () => body.set(biased, biased.add(F32x4.load(bias.add(at)))));
    body.store(keys.add(at), keysOf(body, biased));
  });
  body.if(args.groups, () => closeGroups(body, args, { compared, keys, rowBytes }));
  body.if(args.mask, () => hideKeys(body, mask, keys, experts));
  pickInRounds(body, { from: keys, count: experts, keys: weights, indices, k });
  body.if(args.mask, () => {
    body.for(0, k, 1, (choice) => {
      const place = body.let(wordAt(indices, choice));
      body.if(I32.load(place).lt(0), () => body.store(place, experts));
    });
  });
}

/** Gives the experts of all but the best groups another key. */
function closeGroups(
  body: Body,
  args: RouteTopKArguments,
  { compared, keys, rowBytes }: Readonly<Record<"compared" | "keys" | "rowBytes", I32>>,
): void {
  const { groups, groupSize: size, groupTop, groupsKept } = args;
  const sums = body.let(keys.add(rowBytes));
  const best = {
    keys: body.let(sums.add(rowBytes)),
    indices: body.let(sums.add(rowBytes.shl(1))),
  };
  body.for(0, groups, 1, (group) => {
    const first = body.let(group.mul(size));
    pickInRounds(body, { ...best, from: body.let(wordAt(keys, first)), count: size, k: groupTop });
    const sum = body.let(F32.const(0));
    body.for(0, groupTop, 1, (place) => {
      const at = body.let(first.add(I32.load(wordAt(best.indices, place))).shl(2));
      // Picking spoils keys.
      body.store(keys.add(at), I32.load(wordAt(best.keys, place)));
      const biased = body.let(F32.load(compared.add(at)));
      body.if(args.bias, () => body.set(biased, biased.add(F32.load(args.bias.add(at)))));
      body.set(sum, sum.add(biased));
    });
    body.store(wordAt(sums, group), keyOf(body, sum));
  });
  pickInRounds(body, { ...best, from: sums, count: groups, k: groupsKept });
  // Keys of sums are not needed any more: from here on 1 says that a group is open.
  body.fillBytes(sums, 0, groups.shl(2));
  body.for(0, groupsKept, 1, (place) => {
    body.store(wordAt(sums, I32.load(wordAt(best.indices, place))), I32.const(1));
  });
  body.for(0, groups, 1, (group) => {
    body.if(I32.load(wordAt(sums, group)).not(), () => {
      const first = body.let(group.mul(size));
      body.for(first, body.let(first.add(size)), 1, (expert) => {
        body.store(wordAt(keys, expert), args.closedKey);
      });
    });
  });
}

/** `routeTopK`: each token from its logits to its weights in one go. */
export const routeTopK: Kernel = (call) => {
  const logits = call.input(0);
  const [scores, indices, weights] = [call.make(0), call.make(1), call.make(2)];
  if (logits.size === 0) return [scores, indices, weights];
  const { selectBy } = call.attributes<RouteAttributes>();
  const { args, tasks } = planRoute(call, logits);
  const targets = {
    scores: scores.address,
    indices: indices.address,
    weights: weights.address,
    bias: call.optional(1)?.address ?? 0,
    mask: call.optional(2)?.address ?? 0,
    byLogits: Number(selectBy === "logits"),
  };
  call.launch(routeTokens, { ...args, ...targets, ...groupArguments(call, args.experts) }, tasks);
  return [scores, indices, weights];
};

type GroupNames = "groups" | "groupSize" | "groupsKept" | "groupTop" | "closedKey";

function groupArguments(call: KernelCall, experts: number): Readonly<Record<GroupNames, number>> {
  const { groups } = call.attributes<RouteAttributes>();
  if (!groups) return { groups: 0, groupSize: 0, groupsKept: 0, groupTop: 0, closedKey: 0 };
  const { count, topK, score, fill } = groups;
  const groupSize = experts / count;
  return {
    groups: count,
    groupSize,
    groupsKept: topK,
    groupTop: score === "max" ? 1 : Math.min(score.top, groupSize),
    // The key of 0 is 0.
    closedKey: fill === "zero" ? 0 : NO_KEY,
  };
}

/** Routines of this kernel. */
export const routeRoutines: readonly Routine[] = [routeTokens];
