import { readFileSync } from "node:fs";
import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core";
import { publint } from "publint";
import { formatMessage } from "publint/utils";

/**
 * Holds every tarball against publint and, where it has an entry for importers, against
 * "are the types wrong?".
 *
 * @param {import("./pack.js").Packed} packed
 * @returns {Promise<string[]>}
 */
export async function checkPackages({ tarballs }) {
  const found = [];
  for (const tarball of tarballs) {
    const bytes = readFileSync(tarball.file);
    const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
    const { messages, pkg } = await publint({ strict: true, pack: { tarball: buffer } });
    for (const message of messages) {
      const text = formatMessage(message, pkg, { color: false });
      found.push(`${tarball.name}: publint: ${text ?? message.code}`);
    }
    if (!tarball.hasTypes) continue;
    const analysis = await checkPackage(createPackageFromTarballData(new Uint8Array(buffer)));
    if (analysis.types === false) {
      found.push(`${tarball.name}: attw: no types`);
      continue;
    }
    for (const problem of analysis.problems.filter(concernsModules)) {
      found.push(`${tarball.name}: attw: ${JSON.stringify(problem)}`);
    }
  }
  return found;
}

/**
 * The packages are ES modules alone: how `require` and the old resolution fare is no concern.
 *
 * @param {import("@arethetypeswrong/core").Problem} problem
 */
function concernsModules(problem) {
  if (!("resolutionKind" in problem)) return true;
  return problem.resolutionKind !== "node10" && problem.resolutionKind !== "node16-cjs";
}
