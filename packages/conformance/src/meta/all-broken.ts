import { activationsNotRounded } from "./activations-not-rounded.ts";
import { batchDependentSums } from "./batch-dependent-sums.ts";
import { biasInWeights } from "./bias-in-weights.ts";
import { blockSumsSaturate } from "./block-sums-saturate.ts";
import { castsRoundToOdd } from "./casts-round-to-odd.ts";
import { causalOffByOne } from "./causal-off-by-one.ts";
import { claimsLossyDtype } from "./claims-lossy-dtype.ts";
import { claimsWhatThrows } from "./claims-what-throws.ts";
import { clampOnWrongHalf } from "./clamp-on-wrong-half.ts";
import { coarseExponential } from "./coarse-exponential.ts";
import { combineByExpert } from "./combine-by-expert.ts";
import { combineInAnyOrder } from "./combine-in-any-order.ts";
import { coupledWeightDecay } from "./coupled-weight-decay.ts";
import { dequantisedAround127 } from "./dequantised-around-127.ts";
import { deviceLossSwallowed } from "./device-loss-swallowed.ts";
import { disposeDoesNothing } from "./dispose-does-nothing.ts";
import { donatedInputReadLate } from "./donated-input-read-late.ts";
import { duplicateIds } from "./duplicate-ids.ts";
import { dynamicAttributeBakedIn } from "./dynamic-attribute-baked-in.ts";
import { epsilonOutsideRoot } from "./epsilon-outside-root.ts";
import { exclusiveSumsInclude } from "./exclusive-sums-include.ts";
import { expertBiasDropped } from "./expert-bias-dropped.ts";
import { f16Accumulation } from "./f16-accumulation.ts";
import { fourBitsAroundSeven } from "./four-bits-around-seven.ts";
import { geluByTanh } from "./gelu-by-tanh.ts";
import { groupsByBestExpert } from "./groups-by-best-expert.ts";
import { hiddenNotRounded } from "./hidden-not-rounded.ts";
import { idsClamped } from "./ids-clamped.ts";
import { idsSwappedBetweenTokens } from "./ids-swapped-between-tokens.ts";
import { ignoredTargetsCount } from "./ignored-targets-count.ts";
import { inputWeightsIgnored } from "./input-weights-ignored.ts";
import { integerDivisionByZero } from "./integer-division-by-zero.ts";
import { integersThroughFloats } from "./integers-through-floats.ts";
import { interleavedAsConcatenated } from "./interleaved-as-concatenated.ts";
import { kClipped } from "./k-clipped.ts";
import { keepsCallersMemory } from "./keeps-callers-memory.ts";
import { keyHeadsInTurn } from "./key-heads-in-turn.ts";
import { lastTileDropped } from "./last-tile-dropped.ts";
import { lastTokensDropped } from "./last-tokens-dropped.ts";
import { leakPerCall } from "./leak-per-call.ts";
import { lessThanLetsEqualsThrough } from "./less-than-lets-equals-through.ts";
import { linearNibblesSwapped } from "./linear-nibbles-swapped.ts";
import { lostTensorsRevive } from "./lost-tensors-revive.ts";
import { maskAsLargeNegative } from "./mask-as-large-negative.ts";
import { minusZeroBelowZero } from "./minus-zero-below-zero.ts";
import { missingRenormalisation } from "./missing-renormalisation.ts";
import { missingRouterPath } from "./missing-router-path.ts";
import { nanBleedsBetweenTokens } from "./nan-bleeds-between-tokens.ts";
import { nanBleedsInTile } from "./nan-bleeds-in-tile.ts";
import { nanRanksHighest } from "./nan-ranks-highest.ts";
import { nanWinsMaximum } from "./nan-wins-maximum.ts";
import { nibblesSwapped } from "./nibbles-swapped.ts";
import { noExpertIsTheLast } from "./no-expert-is-the-last.ts";
import { noExpertRunsTheLast } from "./no-expert-runs-the-last.ts";
import { offsetsOffByOne } from "./offsets-off-by-one.ts";
import { oneStepForARow } from "./one-step-for-a-row.ts";
import { orderByDifference } from "./order-by-difference.ts";
import { otherRandomBits } from "./other-random-bits.ts";
import { readsHandOutMemory } from "./reads-hand-out-memory.ts";
import { readsOvertakeWork } from "./reads-overtake-work.ts";
import { residualMismatch } from "./residual-mismatch.ts";
import { ropePairsAsHalves } from "./rope-pairs-as-halves.ts";
import { roundedNanIsZero } from "./rounded-nan-is-zero.ts";
import { routerInHalfFloats } from "./router-in-half-floats.ts";
import { routingMaskIgnored } from "./routing-mask-ignored.ts";
import { rowsAddedInAnyOrder } from "./rows-added-in-any-order.ts";
import { rowsBeyondOneDispatch } from "./rows-beyond-one-dispatch.ts";
import { scaleBeforeRenormalise } from "./scale-before-renormalise.ts";
import { silentFallback } from "./silent-fallback.ts";
import { sinksLeftOutOfResidual } from "./sinks-left-out-of-residual.ts";
import { skippedIdsAdded } from "./skipped-ids-added.ts";
import { softmaxWithoutMaximum } from "./softmax-without-maximum.ts";
import { staleRows } from "./stale-rows.ts";
import { stepsTruncated } from "./steps-truncated.ts";
import { subWordWritesSpill } from "./sub-word-writes-spill.ts";
import { sumsInAnyOrder } from "./sums-in-any-order.ts";
import { swappedRows } from "./swapped-rows.ts";
import { tieToHigherIndex } from "./tie-to-higher-index.ts";
import { unstableGrouping } from "./unstable-grouping.ts";
import { unstableSort } from "./unstable-sort.ts";
import { untypedOutOfMemory } from "./untyped-out-of-memory.ts";
import { unusedCacheRead } from "./unused-cache-read.ts";
import { unusedExpertsGradient } from "./unused-experts-gradient.ts";
import { weightsSwappedBetweenTokens } from "./weights-swapped-between-tokens.ts";
import { whereAsArithmetic } from "./where-as-arithmetic.ts";
import { windowOffByOne } from "./window-off-by-one.ts";
import { writesIntoKeptInput } from "./writes-into-kept-input.ts";
import { writesOutOfBounds } from "./writes-out-of-bounds.ts";
import type { BrokenBackend } from "./parts/broken-backend.ts";

/** Every broken backend, by name. */
export const allBroken: readonly BrokenBackend[] = [
  activationsNotRounded,
  batchDependentSums,
  biasInWeights,
  blockSumsSaturate,
  castsRoundToOdd,
  causalOffByOne,
  claimsLossyDtype,
  claimsWhatThrows,
  clampOnWrongHalf,
  coarseExponential,
  combineByExpert,
  combineInAnyOrder,
  coupledWeightDecay,
  dequantisedAround127,
  deviceLossSwallowed,
  disposeDoesNothing,
  donatedInputReadLate,
  duplicateIds,
  dynamicAttributeBakedIn,
  epsilonOutsideRoot,
  exclusiveSumsInclude,
  expertBiasDropped,
  f16Accumulation,
  fourBitsAroundSeven,
  geluByTanh,
  groupsByBestExpert,
  hiddenNotRounded,
  idsClamped,
  idsSwappedBetweenTokens,
  ignoredTargetsCount,
  inputWeightsIgnored,
  integerDivisionByZero,
  integersThroughFloats,
  interleavedAsConcatenated,
  kClipped,
  keepsCallersMemory,
  keyHeadsInTurn,
  lastTileDropped,
  lastTokensDropped,
  leakPerCall,
  lessThanLetsEqualsThrough,
  linearNibblesSwapped,
  lostTensorsRevive,
  maskAsLargeNegative,
  minusZeroBelowZero,
  missingRenormalisation,
  missingRouterPath,
  nanBleedsBetweenTokens,
  nanBleedsInTile,
  nanRanksHighest,
  nanWinsMaximum,
  nibblesSwapped,
  noExpertIsTheLast,
  noExpertRunsTheLast,
  offsetsOffByOne,
  oneStepForARow,
  orderByDifference,
  otherRandomBits,
  readsHandOutMemory,
  readsOvertakeWork,
  residualMismatch,
  ropePairsAsHalves,
  roundedNanIsZero,
  routerInHalfFloats,
  routingMaskIgnored,
  rowsAddedInAnyOrder,
  rowsBeyondOneDispatch,
  scaleBeforeRenormalise,
  silentFallback,
  sinksLeftOutOfResidual,
  skippedIdsAdded,
  softmaxWithoutMaximum,
  staleRows,
  stepsTruncated,
  subWordWritesSpill,
  sumsInAnyOrder,
  swappedRows,
  tieToHigherIndex,
  unstableGrouping,
  unstableSort,
  untypedOutOfMemory,
  unusedCacheRead,
  unusedExpertsGradient,
  weightsSwappedBetweenTokens,
  whereAsArithmetic,
  windowOffByOne,
  writesIntoKeptInput,
  writesOutOfBounds,
];
