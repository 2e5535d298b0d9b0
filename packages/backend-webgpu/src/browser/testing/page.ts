import { type Browser, type Page, chromium } from "playwright-core";
import { type Browser as Program, browser } from "../../../../../tools/webgpu/software.js";
import { bundleForBrowser } from "./bundle.ts";
import { servePage } from "./server.ts";

/** Settings of one run. */
export interface PageOptions {
  /** Milliseconds after which a page without an answer is closed. Default 60 000. */
  readonly timeout?: number | undefined;
  /** Whether the page is cross-origin isolated, and so has shared memory. Default true. */
  readonly isolated?: boolean | undefined;
  /**
   * Gets each line that the page writes to its console, its type first. Without it, an error or a
   * warning fails the run: a WebGPU error that nobody caught is a warning.
   */
  readonly onConsole?: ((type: string, text: string) => void) | undefined;
}

/** Whether {@link runPage} has a browser here; if not, how to get one. */
export async function findBrowser(): Promise<{ program: Program } | { reason: string }> {
  const program = await browser();
  if (program !== undefined) return { program };
  const reason = "name a Chromium that has WebGPU in MOIETY_CHROMIUM: none is packaged for here";
  if (process.env["MOIETY_REQUIRE_WEBGPU"] === "1") throw new Error(reason);
  process.stderr.write(`\n*** WEBGPU IS NOT TESTED IN A BROWSER *** ${reason}\n`);
  return { reason };
}

/**
 * Runs a module in a headless browser that has WebGPU, in a page that is cross-origin isolated unless
 * told otherwise. Everything is started for this run and closed behind it.
 *
 * @param entryFile its default export takes the argument and gives the result, or a promise of it
 * @param argument anything that JSON holds
 * @returns the result, through JSON; undefined comes back as null
 * @throws Error with what the page wrote as errors and warnings, when it fails, answers too late or breaks down
 */
export async function runPage(
  entryFile: string,
  argument?: unknown,
  options: PageOptions = {},
): Promise<unknown> {
  const found = await findBrowser();
  if ("reason" in found) throw new Error(found.reason);
  const server = await servePage(await bundleForBrowser(entryFile), options.isolated ?? true);
  try {
    const started = await start(found.program);
    try {
      return await evaluate(await started.newPage(), server.address, argument, options);
    } finally {
      await started.close();
    }
  } finally {
    await server.close();
  }
}

function start({ executable, packaged, environment }: Program): Promise<Browser> {
  const software = packaged ? ["--use-webgpu-adapter=swiftshader"] : [];
  return chromium.launch({
    executablePath: executable,
    env: { ...environment },
    args: ["--no-sandbox", "--disable-quic", "--enable-unsafe-webgpu", ...software],
  });
}

async function evaluate(
  page: Page,
  address: string,
  argument: unknown,
  { timeout = 60_000, onConsole }: PageOptions,
): Promise<unknown> {
  const errors: string[] = [];
  page.on("console", (line) => {
    if (onConsole !== undefined) onConsole(line.type(), line.text());
    else if (["error", "warning"].includes(line.type())) errors.push(line.text());
  });
  page.on("pageerror", (error) => errors.push(String(error)));
  const failures = watch(page, timeout);
  try {
    await page.goto(address);
    // A text, since a function would have been changed by what transforms the tests.
    const program = `import("./page.js").then(async ({ default: program }) =>
      JSON.stringify((await program(${JSON.stringify(argument)})) ?? null))`;
    const answer = await Promise.race([page.evaluate<string>(program), failures.promise]);
    if (errors.length > 0) throw new Error("the page gave an answer, but wrote errors or warnings");
    return JSON.parse(answer);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    throw new Error([text, ...errors].join("\n"), { cause: error });
  } finally {
    failures.stop();
  }
}

/** Rejects when the page breaks down or its time is over. */
function watch(page: Page, timeout: number): { promise: Promise<never>; stop(): void } {
  let timer: NodeJS.Timeout | undefined;
  const promise = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer after ${timeout} ms`)), timeout);
    page.on("crash", () => reject(new Error("the page crashed")));
  });
  promise.catch(() => undefined);
  return { promise, stop: () => clearTimeout(timer) };
}
