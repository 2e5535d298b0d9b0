import {
  type Backend,
  type Capabilities,
  type DType,
  type ProductFormat,
  ConfigError,
  productFormats,
  storedFormat,
} from "@moiety/core";
import { allOps } from "@moiety/core/ops";
import { quantisedFormats } from "./select.ts";

const DTYPES: readonly DType[] = ["f32", "f64", "i32", "u32", "bool", "f16", "bf16", "u8"];
const FORMATS: readonly string[] = ["f16", "bf16", ...productFormats];

/** The dtype without which a kernel of an op cannot hold its inputs or outputs. */
const NEEDED_DTYPES: Readonly<Record<string, DType>> = {
  compare: "bool",
  where: "bool",
  gatherRows: "i32",
  takeAlong: "i32",
  putAlong: "i32",
  segmentSum: "i32",
  topK: "i32",
  argsort: "i32",
  groupRows: "i32",
  groupedMatmul: "i32",
  groupedMatmulGradWeights: "i32",
  randomBits: "u32",
};

/** What is wrong with a manifest, and what is merely odd. */
export interface ManifestFindings {
  /** Contradictions: nothing is run. */
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
}

/** Finds what in a backend's claims contradicts itself or this version of the contract. */
export function inspectManifest({
  name,
  capabilities,
}: Pick<Backend, "name" | "capabilities">): ManifestFindings {
  const problems = [
    ...(typeof name === "string" && name.length > 0 ? [] : ["the backend has no name"]),
    ...formProblems(capabilities),
  ];
  if (problems.length > 0) return { problems, warnings: [] };
  return {
    problems: [
      ...listProblems("dtypes", capabilities.dtypes, DTYPES),
      ...listProblems(
        "ops",
        capabilities.ops,
        allOps.map((op) => op.name),
      ),
      ...listProblems("formats", capabilities.formats, FORMATS),
      ...fusedProblems(capabilities),
      ...dtypeProblems(capabilities),
      ...promiseProblems(capabilities),
      ...limitProblems(capabilities.limits),
    ],
    warnings: halvesWithout(capabilities),
  };
}

/** @throws ConfigError, one line, where the manifest contradicts itself; else gives warnings */
export function requireSoundManifest(backend: Backend): readonly string[] {
  const { problems, warnings } = inspectManifest(backend);
  if (problems.length === 0) return warnings;
  throw new ConfigError(
    `the manifest of backend ${backend.name} contradicts itself: ${problems.join("; ")}`,
    "capabilities",
    backend.capabilities,
  );
}

function formProblems(capabilities: unknown): string[] {
  if (typeof capabilities !== "object" || capabilities === null)
    return ["there are no capabilities"];
  const given = capabilities as Readonly<Record<string, unknown>>;
  const problems: string[] = [];
  for (const key of ["dtypes", "ops", "formats"]) {
    const value = given[key];
    if (Array.isArray(value) && value.every((one) => typeof one === "string")) continue;
    problems.push(`${key} must be a list of names`);
  }
  const accumulation = given["accumulation"] as { dtype?: unknown; order?: unknown } | undefined;
  if (!["f16", "f32", "f64"].includes(String(accumulation?.dtype))) {
    problems.push(`accumulation.dtype is ${String(accumulation?.dtype)}, not f16, f32 or f64`);
  }
  if (typeof accumulation?.order !== "string" || accumulation.order.trim() === "") {
    problems.push("accumulation.order says nothing");
  }
  if (!["bitwise", "run", "none"].includes(String(given["determinism"]))) {
    problems.push(`determinism is ${String(given["determinism"])}, not bitwise, run or none`);
  }
  if (typeof given["batchInvariant"] !== "boolean") {
    problems.push("batchInvariant must be true or false");
  }
  if (typeof given["limits"] !== "object" || given["limits"] === null) {
    problems.push("limits must be an object");
  }
  return problems;
}

/** Outside packages may bring ops and formats of their own: those have a slash in their name. */
function listProblems(key: string, given: readonly string[], known: readonly string[]): string[] {
  const unknown = given.filter((name) => !known.includes(name) && !name.includes("/"));
  const twice = given.filter((name, index) => given.indexOf(name) !== index);
  return [
    ...unknown.map((name) => `${key} names "${name}", which there is not`),
    ...twice.map((name) => `${key} names "${name}" twice`),
  ];
}

/** What fused ops take must be among what is taken at all. */
function fusedProblems({ formats, fusedFormats }: Capabilities): string[] {
  if (fusedFormats === undefined) return [];
  if (!Array.isArray(fusedFormats)) return ["fusedFormats must be a list of names"];
  return fusedFormats
    .filter((name) => !formats.includes(name))
    .map((name) => `fusedFormats names "${name}", which formats does not`);
}

function dtypeProblems(capabilities: Capabilities): string[] {
  const { dtypes, ops, formats } = capabilities;
  const problems: string[] = [];
  if (ops.length > 0 && !dtypes.includes("f32") && !dtypes.includes("f64")) {
    problems.push("it has ops but neither f32 nor f64");
  }
  for (const [op, dtype] of Object.entries(NEEDED_DTYPES)) {
    if (ops.includes(op) && !dtypes.includes(dtype)) problems.push(`it has ${op} but not ${dtype}`);
  }
  for (const half of ["f16", "bf16"] as const) {
    if (!formats.includes(half) || dtypes.includes(half)) continue;
    problems.push(`it has the format ${half} but not the dtype`);
  }
  if (quantisedFormats(capabilities).length > 0 && !dtypes.includes("u8")) {
    problems.push("it has quantised formats but not u8");
  }
  for (const format of productFormats.filter((name) => formats.includes(name))) {
    const stored: ProductFormat = storedFormat(format);
    if (formats.includes(stored)) continue;
    problems.push(`it has the format ${format} but not ${stored}, in which that is stored`);
  }
  return problems;
}

function promiseProblems({ determinism, batchInvariant }: Capabilities): string[] {
  if (!batchInvariant || determinism === "bitwise") return [];
  return [`batchInvariant promises equal bits, which determinism "${determinism}" does not`];
}

function limitProblems(limits: Capabilities["limits"]): string[] {
  const problems: string[] = [];
  for (const [key, value] of Object.entries(limits)) {
    if (value === undefined || (Number.isFinite(value) && value > 0)) continue;
    problems.push(`limits.${key} is ${String(value)}, but must be above 0 (or absent)`);
  }
  const { bindingBytes, bufferBytes, totalBytes } = limits;
  if (bufferBytes !== undefined && totalBytes !== undefined && bufferBytes > totalBytes) {
    problems.push(`limits.bufferBytes ${bufferBytes} is above limits.totalBytes ${totalBytes}`);
  }
  if (bindingBytes !== undefined && bufferBytes !== undefined && bindingBytes > bufferBytes) {
    problems.push(`limits.bindingBytes ${bindingBytes} is above limits.bufferBytes ${bufferBytes}`);
  }
  return problems;
}

/** A fused op without its backward (or the other way round) never runs under a gradient. */
function halvesWithout({ ops }: Capabilities): string[] {
  const warnings: string[] = [];
  for (const op of allOps) {
    const backward = op.definition.backward?.();
    if (backward === undefined || ops.includes(op.name) === ops.includes(backward.name)) continue;
    const [has, lacks] = ops.includes(op.name)
      ? [op.name, backward.name]
      : [backward.name, op.name];
    warnings.push(`it has ${has} but not ${lacks}: under a gradient both run decomposed`);
  }
  return warnings;
}
