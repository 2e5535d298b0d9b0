import { I32 } from "../emit/scalars.ts";
import { type Life, startLife } from "../life.ts";
import type { WasmOptions } from "../options.ts";
import { readOptions } from "../options.ts";
import { availableThreads } from "../platform.ts";
import { probe } from "../probe.ts";
import { type Routine, defineRoutine } from "../routine.ts";

/** Starts a life with routines of a test. */
export function startWith(routines: readonly Routine[], options: WasmOptions): Promise<Life> {
  return startLife(readOptions(options, probe(), availableThreads()), 0, routines);
}

/** Each task adds `by` to a word of its own, and 1 to a common one before them. */
export const countTasks: Routine<Readonly<Record<"to" | "by", typeof I32>>> =
  /*#__PURE__*/ defineRoutine("countTasks", { to: I32, by: I32 }, (body, { to, by }, task) => {
    const own = body.let(to.add(task.shl(2)));
    body.store(own, I32.load(own, 4).add(by), 4);
    body.drop(body.atomicAdd(to, 1));
  });

/** Like {@link countTasks}, to be told from it: it subtracts. */
export const discountTasks: typeof countTasks = /*#__PURE__*/ defineRoutine(
  "discountTasks",
  { to: I32, by: I32 },
  (body, { to, by }, task) => {
    const own = body.let(to.add(task.shl(2)));
    body.store(own, I32.load(own, 4).sub(by), 4);
    body.drop(body.atomicAdd(to, 1));
  },
);

/** Some seconds of looking. */
const MOST_LOOKS = 2 ** 31 - 1;

type MeetParameters = Readonly<
  Record<"to" | "threads" | "trapping" | "endless" | "slow", typeof I32>
>;

/**
 * Waits until as many tasks as `threads` are under way, so that each runs in another thread, and traps
 * where they never are. Then those of bit `task` in `trapping` trap, those in `endless` never end, and
 * those in `slow` take some milliseconds. At last each sets a word of its own behind the common one.
 */
export const meet: Routine<MeetParameters> = /*#__PURE__*/ defineRoutine(
  "meet",
  { to: I32, threads: I32, trapping: I32, endless: I32, slow: I32 },
  (body, { to, threads, trapping, endless, slow }, task) => {
    const has = (bits: I32): I32 => bits.shrU(task).and(1);
    const looks = body.int(0);
    const look = (limit: number, done: () => I32): void => {
      body.set(looks, I32.const(0));
      body.while(
        () => done().not().and(looks.ltU(limit)),
        () => body.increment(looks, 1),
      );
    };
    body.drop(body.atomicAdd(to, 1));
    look(MOST_LOOKS, () => body.atomicLoad(to).geU(threads));
    body.if(looks.eq(MOST_LOOKS), () => body.trap());
    body.if(has(trapping), () => body.trap());
    body.while(
      () => has(endless),
      () => undefined,
    );
    body.if(has(slow), () => look(10_000_000, () => body.atomicLoad(to).eq(-1)));
    body.store(to.add(task.shl(2)), I32.const(1), 4);
  },
);

/** What a plain {@link meet} takes. */
export const meeting: Readonly<Record<"trapping" | "endless" | "slow", number>> = {
  trapping: 0,
  endless: 0,
  slow: 0,
};
