import { cpuDriver } from "@moiety/backend-cpu";
import { type Backend, type Capabilities, defineBackend } from "@moiety/core";
import { allOps } from "@moiety/core/ops";
import type { ConformanceCase } from "../../case.ts";
import { conform } from "../../conform.ts";
import type { ConformOptions } from "../../options.ts";
import type { ReferenceCache } from "../../reference.ts";
import type { CaseResult, Report } from "../../report.ts";

/** How cases are run in a test. */
export type HoldOptions = Partial<Omit<ConformOptions, "catalogue" | "createBackend">>;

/** Runs cases in the full profile on backends that `make` makes. */
export function hold(
  catalogue: readonly ConformanceCase[],
  make: () => Promise<Backend> | Backend,
  options: HoldOptions = {},
): Promise<Report> {
  return conform({
    profile: "full",
    createBackend: async () => make(),
    catalogue,
    ...options,
  });
}

/** Cases that neither pass nor are unsupported, as lines. */
export function complaints({ cases }: Report): string[] {
  return cases
    .filter(({ status }) => status !== "pass" && status !== "unsupported")
    .map(({ id, status, reason }) => `${id}: ${status}: ${reason}`);
}

/** The cases of one status. */
export function withStatus(report: Report, status: CaseResult["status"]): string[] {
  return report.cases.filter((one) => one.status === status).map(({ id }) => id);
}

/** A fault, the cases that name it, and some that must not mind it. */
export interface Fault {
  readonly name: string;
  readonly caughtBy: readonly string[];
  readonly spares: readonly string[];
  make(): Promise<Backend> | Backend;
  readonly options?: HoldOptions;
}

/** Ids of the cases that fail of those that a fault names; `references` are shared between faults. */
export async function failuresOf(
  catalogue: readonly ConformanceCase[],
  { make, caughtBy, spares, options }: Fault,
  references: ReferenceCache,
): Promise<string[]> {
  const cases = [...caughtBy, ...spares];
  const report = await hold(catalogue, make, { cases, references, ...options });
  const ended = report.cases.map(({ id, status, reason }) =>
    status === "pass" || status === "fail" ? "" : `${id}: ${status}: ${reason}`,
  );
  const odd = ended.filter((line) => line !== "");
  if (odd.length > 0) throw new Error(odd.join("\n"));
  return withStatus(report, "fail");
}

/** The oracle, noting which required kernels each case calls. */
export function noting(claims: Partial<Capabilities> = {}): {
  make(): Backend;
  begin(id: string): void;
  /** Cases with the kernels that they called without naming them. */
  unnamed(cases: readonly ConformanceCase[]): string[];
} {
  const required = new Set(
    allOps.filter(({ identity }) => identity.kernel !== "optional").map(({ name }) => name),
  );
  const called = new Map<string, Set<string>>();
  let current = new Set<string>();
  return {
    make() {
      const driver = cpuDriver();
      return defineBackend({
        specVersion: 1,
        name: driver.name,
        capabilities: { ...driver.capabilities, ...claims },
        allocate: (spec) => driver.allocate(spec),
        write: (handle, offset, bytes) => driver.write(handle, offset, bytes),
        read: (handle, offset, length) => driver.read(handle, offset, length),
        free: (handle) => driver.free(handle),
        run(call) {
          current.add(call.op.name);
          return driver.run(call);
        },
        sync: () => driver.sync(),
        statistics: () => driver.statistics(),
        dispose: () => driver.dispose(),
      });
    },
    begin(id) {
      current = new Set();
      called.set(id, current);
    },
    unnamed(cases) {
      return cases.flatMap(({ id, ops }) => {
        const named = new Set(ops.map(({ name }) => name));
        const rest = [...(called.get(id) ?? [])].filter(
          (name) => required.has(name) && !named.has(name),
        );
        return rest.length === 0 ? [] : [`${id}: ${rest.join(", ")}`];
      });
    },
  };
}
