import { existsSync } from "node:fs";
import { mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../process.js";

/**
 * One line of what apt knows of its sources.
 *
 * @typedef {{ address: string, suite: string, component: string }} Source
 */

/**
 * apt on folders of its own: it reads which packages the system has and where they come from, and
 * changes nothing of it. No root is needed, for nothing is installed.
 */
export class PrivateApt {
  /** @param {string} folder where its lists and packages go */
  constructor(folder) {
    this.folder = folder;
  }

  /** @param {readonly string[]} sources lines of a sources.list */
  async update(sources) {
    for (const part of ["state/lists/partial", "cache/archives/partial", "parts"]) {
      await mkdir(join(this.folder, part), { recursive: true });
    }
    await writeFile(join(this.folder, "sources.list"), `${sources.join("\n")}\n`);
    await this.#run("apt-get", ["update"]);
  }

  /**
   * @param {string} name of a package
   * @param {string} release
   * @returns {Promise<number | undefined>} the major version that an install would take
   */
  async candidate(name, release) {
    const text = await this.#run("apt-cache", ["-t", release, "policy", name]);
    const major = /^ *Candidate: (?:\d+:)?(\d+)/m.exec(text)?.[1];
    return major === undefined ? undefined : Number(major);
  }

  /**
   * Downloads packages and all they need that the system lacks.
   *
   * @param {readonly string[]} names
   * @param {string} release
   * @returns {Promise<string[]>} paths of the .deb files
   */
  async download(names, release) {
    const what = ["--download-only", "--reinstall", "--no-install-recommends", "--yes"];
    await this.#run("apt-get", ["install", ...what, "-t", release, ...names]);
    const archives = join(this.folder, "cache/archives");
    const files = (await readdir(archives)).filter((file) => file.endsWith(".deb"));
    return files.sort().map((file) => join(archives, file));
  }

  /**
   * @param {string} program
   * @param {readonly string[]} parameters
   */
  #run(program, parameters) {
    const settings = {
      "Dir::State": join(this.folder, "state"),
      "Dir::State::status": "/var/lib/dpkg/status",
      "Dir::Cache": join(this.folder, "cache"),
      "Dir::Etc::sourcelist": join(this.folder, "sources.list"),
      "Dir::Etc::sourceparts": join(this.folder, "parts"),
      "Debug::NoLocking": "1",
      "APT::Sandbox::User": "root",
      "APT::Update::Error-Mode": "any",
      "Acquire::Languages": "none",
      "Acquire::Retries": "1",
      "Acquire::http::Timeout": "30",
      "Acquire::https::Timeout": "30",
    };
    const options = Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
    return printed(program, [...options, ...parameters]);
  }
}

/** @returns {Promise<string>} the code name of the distribution's release */
export async function releaseName() {
  if (!existsSync("/etc/os-release") || !existsSync("/usr/bin/apt-get")) {
    throw new Error("this system has no apt");
  }
  const name = field(await readFile("/etc/os-release", "utf8"), "VERSION_CODENAME");
  if (name === "") throw new Error("/etc/os-release gives no VERSION_CODENAME");
  return name;
}

/**
 * The distribution's archive, as the system's own configuration names it.
 *
 * @param {string} codename
 * @returns {Promise<{ sources: string[], backports: string }>} lines of a sources.list, and the one
 *   for the release's backports
 */
export async function distribution(codename) {
  const format = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)";
  const options = ["indextargets", "--no-release-info", "--format", format];
  const listed = await printed("apt-get", [...options, "Created-By: Packages"]);
  const { address, suites } = archiveOf(parseTargets(listed), codename);
  const id = field(await readFile("/etc/os-release", "utf8"), "ID");
  const keyring = `/usr/share/keyrings/${id}-archive-keyring.gpg`;
  const signed = existsSync(keyring) ? ` [signed-by=${keyring}]` : "";
  const line = (/** @type {string} */ suite) => `deb${signed} ${address} ${suite} main`;
  return { sources: suites.map(line), backports: line(`${codename}-backports`) };
}

/**
 * @param {string} release what stands in `/etc/os-release`
 * @param {string} name
 */
function field(release, name) {
  return new RegExp(`^${name}="?([\\w-]+)`, "m").exec(release)?.[1] ?? "";
}

/**
 * @param {string} listed `address|suite|component` a line
 * @returns {Source[]}
 */
export function parseTargets(listed) {
  return [...new Set(listed.split("\n"))].flatMap((line) => {
    const [address, suite, component, ...rest] = line.trim().split("|");
    if (!address || !suite || !component || rest.length > 0) return [];
    return [{ address, suite, component }];
  });
}

/**
 * Others also publish under a distribution's code name; the distribution itself has `-updates`.
 *
 * @param {readonly Source[]} targets
 * @param {string} codename
 * @returns {{ address: string, suites: string[] }}
 */
export function archiveOf(targets, codename) {
  const all = targets.filter(({ component }) => component === "main");
  const main =
    all.find(({ suite }) => suite === `${codename}-updates`) ??
    all.find(({ suite }) => suite === codename);
  if (main === undefined) {
    throw new Error("apt's sources do not name the distribution's archive");
  }
  const suites = all
    .filter(({ address, suite }) => address === main.address && suite.startsWith(codename))
    .map(({ suite }) => suite)
    .filter((suite) => suite !== `${codename}-backports`);
  return { address: main.address, suites };
}

/**
 * @param {string} command
 * @param {readonly string[]} parameters
 * @returns {Promise<string>} what it printed
 */
async function printed(command, parameters) {
  const { code, output } = await run("env", ["LC_ALL=C", command, ...parameters]);
  if (code === 0) return output;
  const lines = output.split("\n");
  const reason = lines.find((line) => line.startsWith("E: ")) ?? output.trim();
  throw new Error(`${command} ended with exit code ${code}: ${reason}`);
}
