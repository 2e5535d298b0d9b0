import { spawn } from "node:child_process";

/** Name of the variable that tells a process to measure, and where its rows go. */
export const ROWS_FILE = "MOIETY_BENCH_ROWS";

/** The major version of the Node that runs this. */
export const ownVersion: number = Number(process.versions.node.split(".")[0]);

/**
 * Runs this program once more, under a version of Node, to measure.
 *
 * @throws Error where it cannot be run or fails
 */
export async function measureUnder(
  version: number,
  parameters: readonly string[],
  rowsFile: string,
): Promise<void> {
  const [, program = ""] = process.argv;
  const own = version === ownVersion;
  // The npm package `node` brings a binary of the version.
  const [command, first] = own
    ? [process.execPath, [program]]
    : ["npm", ["exec", "--yes", "--prefer-offline", "--", `node@${version}`, program]];
  const child = spawn(command, [...first, ...parameters], {
    env: { ...process.env, [ROWS_FILE]: rowsFile },
    stdio: ["ignore", "inherit", "inherit"],
    shell: !own && process.platform === "win32",
  });
  const code = await new Promise<number>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (found) => resolve(found ?? 1));
  });
  if (code !== 0) throw new Error(`measuring under Node ${version} failed (exit code ${code})`);
}
