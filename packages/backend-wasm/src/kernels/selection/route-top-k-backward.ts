import type { Body } from "../../emit/body.ts";
import { F32, I32 } from "../../emit/scalars.ts";
import { F32x4 } from "../../emit/vectors.ts";
import type { Kernel } from "../../kernel.ts";
import { type Arguments, type Routine, defineRoutine } from "../../routine.ts";
import { expNormal4, sigmoid4 } from "../functions/index.ts";
import { acrossLanes, padLanes, storeLanes, wordAt } from "../reduction/lanes.ts";
import { GUARDS, NORMS, ROUTE_PARAMETERS, SCORES, WEIGHTS, planRoute } from "./route-plan.ts";
import { bend, eachFour, eachToken, scoreRow, squashRow } from "./route-scores.ts";
import { type ChosenRows, eachChoice, normOfRow, power, weighRow } from "./route-weights.ts";

const PARAMETERS = {
  ...ROUTE_PARAMETERS,
  indices: I32,
  /** Addresses of gradients, or 0. */
  ofScores: I32,
  ofWeights: I32,
  gradient: I32,
} as const;

type BackwardArguments = Arguments<typeof PARAMETERS>;

/** Below it the root of softplus is e^(z/2), whose slope does not divide by 0. */
const FAR = -30;

const routeTokensBack = /*#__PURE__*/ defineRoutine(
  "routeTokensBack",
  PARAMETERS,
  (body, args, task) => {
    const { experts, k } = args;
    const rowBytes = body.let(experts.add(3).and(-4).shl(2));
    eachToken(body, args, task, (token, room) => {
      const start = body.let(token.mul(experts).shl(2));
      const choices = body.let(token.mul(k));
      const from = body.let(args.logits.add(start));
      const logits = squashRow(body, args, from, room);
      const scores = body.let(room.add(rowBytes));
      const slopes = body.let(scores.add(rowBytes));
      const weights = body.let(slopes.add(rowBytes));
      const ofChosen = body.let(weights.add(rowBytes));
      const rows = { logits, scores, indices: body.let(wordAt(args.indices, choices)) };
      scoreRow(body, args, logits, scores);
      eachFour(body, experts, (at) => {
        const slope = body.let(F32x4.const(0));
        const ofScores = args.ofScores.add(start).add(at);
        body.if(args.ofScores, () => body.set(slope, F32x4.load(ofScores)));
        body.store(slopes.add(at), slope);
      });
      body.if(args.ofWeights, () => {
        const given = body.let(wordAt(args.ofWeights, choices));
        chosenSlopes(body, args, rows, { given, weights, slopes: ofChosen });
        body.if(args.weight.eq(WEIGHTS.scores), () => {
          addChosen(body, args, rows.indices, ofChosen, slopes);
        });
      });
      logitSlopes(body, args, rows, slopes);
      body.if(args.ofWeights.ne(0).and(args.weight.ne(WEIGHTS.scores)), () => {
        addChosen(body, args, rows.indices, ofChosen, slopes);
      });
      const target = body.let(args.gradient.add(start));
      unsquash(body, args, { from, slopes, target });
    });
  },
);

/** Adds what belongs to the chosen experts to a row of all. */
function addChosen(
  body: Body,
  args: BackwardArguments,
  indices: I32,
  ofChosen: I32,
  slopes: I32,
): void {
  eachChoice(body, args, indices, (choice, expert) => {
    const place = body.let(wordAt(slopes, expert));
    body.store(place, F32.load(place).add(F32.load(wordAt(ofChosen, choice))));
  });
}

interface WeightRows {
  readonly given: I32;
  readonly weights: I32;
  readonly slopes: I32;
}

/** The gradients of the chosen scores, or of the chosen logits where the weights are made of those. */
function chosenSlopes(
  body: Body,
  args: BackwardArguments,
  rows: ChosenRows,
  { given, weights, slopes }: WeightRows,
): void {
  weighRow(body, args, rows, weights);
  body.for(0, args.k, 1, (choice) => {
    const scaled = F32.load(wordAt(given, choice)).mul(args.scale);
    body.store(wordAt(slopes, choice), scaled);
  });
  body.if(args.norm, () => normSlopes(body, args, rows.indices, weights, slopes));
  body.if(args.weight.eq(WEIGHTS.softmaxOfChosen), () => {
    const dot = body.let(F32.const(0));
    eachChoice(body, args, rows.indices, (choice) => {
      const term = F32.load(wordAt(slopes, choice)).mul(F32.load(wordAt(weights, choice)));
      body.set(dot, dot.add(term));
    });
    eachChoice(body, args, rows.indices, (choice) => {
      const place = body.let(wordAt(slopes, choice));
      body.store(
        place,
        F32.load(place)
          .sub(dot)
          .mul(F32.load(wordAt(weights, choice))),
      );
    });
  });
  body.if(args.weight.eq(WEIGHTS.sigmoidOfChosen), () => {
    eachChoice(body, args, rows.indices, (choice, expert) => {
      const place = body.let(wordAt(slopes, choice));
      const z = F32x4.loadSplat(wordAt(rows.logits, expert));
      const slope = F32.load(wordAt(weights, choice)).mul(sigmoid4(body, z.neg()).lane(0));
      body.store(place, F32.load(place).mul(slope));
    });
  });
}

/** Turns gradients of normalised weights into those of raw ones. */
function normSlopes(
  body: Body,
  args: BackwardArguments,
  indices: I32,
  weights: I32,
  slopes: I32,
): void {
  const { terms, norm, divisor } = normOfRow(body, args, weights);
  const isPower = body.let(args.norm.eq(NORMS.power));
  const along = body.let(F32.const(0));
  eachChoice(body, args, indices, (choice) => {
    const term = F32.load(wordAt(slopes, choice)).mul(F32.load(wordAt(weights, choice)));
    body.set(along, along.add(term));
  });
  const ofNorm = body.let(along.div(divisor).div(divisor));
  const isGuarded = args.guard.eq(GUARDS.max).and(norm.ge(args.epsilon).not());
  body.if(isGuarded, () => body.set(ofNorm, F32.const(0)));
  // The norm's own power comes first, so that the code of powers is there once.
  body.for(0, body.let(args.k.add(isPower)), 1, (round) => {
    const choice = body.let(round.sub(isPower));
    const isNorm = body.let(choice.lt(0));
    const inner = body.let(F32.const(1));
    body.if(isPower, () => {
      const base = body.let(terms);
      body.if(isNorm.not(), () => body.set(base, F32.load(wordAt(weights, choice))));
      const exponent = args.root.select(isNorm, args.power).sub(1);
      body.set(inner, power(body, base, exponent));
    });
    body.if(
      isNorm,
      () => body.set(ofNorm, ofNorm.mul(inner)),
      () => {
        const place = body.let(wordAt(slopes, choice));
        body.store(place, F32.load(place).div(divisor).sub(ofNorm.mul(inner)));
      },
    );
  });
}

/** Turns the gradients of a token's scores into those of its squashed logits. */
function logitSlopes(
  body: Body,
  { experts, score }: BackwardArguments,
  { logits, scores }: ChosenRows,
  slopes: I32,
): void {
  body.if(score.eq(SCORES.softmax), () => {
    const sum = body.let(F32x4.const(0));
    eachFour(body, experts, (at, left) => {
      const term = body.let(F32x4.load(scores.add(at)).mul(F32x4.load(slopes.add(at))));
      padLanes(body, term, left, F32x4.const(0), F32x4);
      body.set(sum, sum.add(term));
    });
    const dot = acrossLanes(body, sum, F32x4, (a, b) => a.add(b));
    eachFour(body, experts, (at) => {
      const slope = F32x4.load(slopes.add(at)).sub(dot);
      body.store(slopes.add(at), slope.mul(F32x4.load(scores.add(at))));
    });
  });
  const isSigmoid = body.let(score.eq(SCORES.sigmoid));
  body.if(isSigmoid.or(score.eq(SCORES.sqrtSoftplus)), () => {
    eachFour(body, experts, (at) => {
      const z = body.let(F32x4.load(logits.add(at)));
      const y = body.let(F32x4.load(scores.add(at)));
      const slope = body.let(F32x4.const(0));
      body.if(
        isSigmoid,
        () => body.set(slope, y.mul(sigmoid4(body, z.neg()))),
        () => {
          const half = F32x4.const(0.5);
          const near = body.let(sigmoid4(body, z).div(y));
          const far = body.let(expNormal4(body, z.mul(half)));
          body.set(slope, z.lt(F32x4.const(FAR)).choose(far, near).mul(half));
        },
      );
      body.store(slopes.add(at), slope.mul(F32x4.load(slopes.add(at))));
    });
  });
}

/** From squashed logits to those that were given. */
function unsquash(
  body: Body,
  args: BackwardArguments,
  { from, slopes, target }: Readonly<Record<"from" | "slopes" | "target", I32>>,
): void {
  const temperature = body.let(F32x4.splat(args.temperature));
  eachFour(body, args.experts, (at, left) => {
    const slope = body.let(F32x4.load(slopes.add(at)));
    body.if(args.softcap.ne(0), () => {
      const bent = body.let(bend(body, F32x4.load(from.add(at)).div(temperature), args));
      body.set(slope, slope.mul(F32x4.const(1).sub(bent.mul(bent))));
    });
    const result = body.let(slope.div(temperature));
    storeLanes(body, target.add(at), result, left);
  });
}

/** `routeTopKBackward`, the choice as it was made. */
export const routeTopKBackward: Kernel = (call) => {
  const [logits, indices] = [call.input(0), call.input(1)];
  const gradient = call.make(0);
  if (logits.size === 0) return [gradient];
  const { args, tasks } = planRoute(call, logits);
  const ofScores = call.optional(2)?.address ?? 0;
  const ofWeights = call.optional(3)?.address ?? 0;
  const targets = { ofScores, ofWeights, indices: indices.address, gradient: gradient.address };
  call.launch(routeTokensBack, { ...args, ...targets }, tasks);
  return [gradient];
};

/** Routines of this kernel. */
export const routeBackwardRoutines: readonly Routine[] = [routeTokensBack];
