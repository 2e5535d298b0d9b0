/** The ways in which a page may fail. */
export type Failure = "throws" | "logs" | "misuses" | "hangs";

/** A page that fails in the way that is asked for, to see that it shows. */
export default async function fail(how: Failure): Promise<unknown> {
  if (how === "throws") throw new Error("thrown in the page");
  if (how === "hangs") return new Promise(() => undefined);
  if (how === "misuses") await misuse();
  // The browser itself writes an error for what is not there.
  if (how === "logs") await fetch("no-such-file");
  return how;
}

/** Nobody listens to this error, so the browser writes it. */
async function misuse(): Promise<void> {
  const { navigator } = globalThis as unknown as { navigator: NavigatorGPU };
  const adapter = await navigator.gpu.requestAdapter();
  const device = await adapter?.requestDevice();
  device?.createBuffer({ size: 4, usage: 0 });
  await device?.queue.onSubmittedWorkDone();
}
