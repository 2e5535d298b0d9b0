/**
 * The conformance kit: holds any backend of `@moiety/core` to the reference.
 * @packageDocumentation
 */
export { requireBackend } from "./backend-check.ts";
export { reportToBadge } from "./badge.ts";
export {
  type BoundedValues,
  type CaseContext,
  type CompareOptions,
  type ConformanceCase,
  type ErrorClass,
  type Extension,
  type HostTensors,
  type Level,
  type Profile,
  type Program,
  type ProgramRun,
  type Tensors,
  EXTENSIONS,
  LEVELS,
  PROFILES,
} from "./case.ts";
export { allCases } from "./catalogue.ts";
export { type Compared, type ComparedElement, type Comparison, compareValues } from "./compare.ts";
export { conform } from "./conform.ts";
export { type HostTensor, generated, hostTensor } from "./host-tensor.ts";
export type { WorstElement } from "./judgement.ts";
export { reportToJUnit } from "./junit.ts";
export { type ManifestFindings, inspectManifest } from "./manifest.ts";
export type { ConformOptions, ExpectedFailure, Progress } from "./options.ts";
export { type BankSubject, bankCases } from "./own/bank-cases.ts";
export { type ControllerSubject, controllerCase } from "./own/controller-case.ts";
export { type GradientCaseParts, gradientCase } from "./own/gradient-case.ts";
export { type LayerSubject, layerCases } from "./own/layer-cases.ts";
export { type Drawn, leavesOnHost, treesOf } from "./own/leaves.ts";
export { type LossSubject, lossCases } from "./own/loss-cases.ts";
export { type OwnCaseParts, type ProgramCaseParts, programCase } from "./own/program-case.ts";
export type { RoutedSubject } from "./own/routed.ts";
export { type RouterSubject, routerCases } from "./own/router-cases.ts";
export type { CaseRandom } from "./random.ts";
export type { ExpectedValues, Reference, ReferenceCache } from "./reference.ts";
export {
  type CaseResult,
  type Report,
  type Status,
  type Verdict,
  STATUSES,
  reportToJson,
} from "./report.ts";
export { type RunnerOptions, type TestBody, type TestRunner, runConformance } from "./runner.ts";
export { selectCases, smallestProfile } from "./select.ts";
export { describeCase, percent, summarize } from "./summary.ts";
export { kitVersion } from "./version.ts";
export {
  type AccumulationDType,
  type StorageDType,
  type Yardstick,
  type YardstickOptions,
  createYardstick,
} from "./yardstick/index.ts";
