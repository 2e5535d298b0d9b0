/** Milliseconds of runs before anything is timed: engines compile in the background what runs a while. */
const WARM_UP = 800;

/** Runs everyone in turn until all are warm. */
export async function warmUp(runs: readonly (() => Promise<unknown>)[]): Promise<void> {
  for (const run of runs) {
    const start = performance.now();
    while (performance.now() - start < WARM_UP) {
      // oxlint-disable-next-line no-await-in-loop -- one at a time
      await run();
    }
  }
}
