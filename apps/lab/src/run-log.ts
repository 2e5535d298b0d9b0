import { ConfigError } from "@moiety/core";
import type { ExperimentContext } from "./experiment-context.ts";
import { openMetrics } from "./metrics.ts";
import type { MetricsWriter } from "./metrics.ts";
import { startProgress } from "./progress.ts";
import type { Progress, ProgressOutput } from "./progress.ts";
import { writeSettings } from "./settings-file.ts";
import { modelNames } from "./twins.ts";

/** The listening half of an experiment's context, and how to end it. */
export interface RunLog extends Pick<ExperimentContext, "begin" | "step" | "flush" | "note"> {
  /** Ends the progress line and closes the records; may be called at any time, and again. */
  end(): void;
}

/** Keeps the records of a run and shows its progress. */
export function createRunLog(
  run: Pick<ExperimentContext, "settings" | "folder" | "stopAfter">,
  output: ProgressOutput,
  now: () => number,
): RunLog {
  let metrics: MetricsWriter | undefined;
  let progress: Progress | undefined;
  return {
    begin: (steps, done) => {
      const last = Math.min(steps, run.stopAfter ?? steps);
      if (done >= last && done < steps) {
        throw new ConfigError(
          `--stop-after ${last}: the run in ${run.folder.path} has done ${done} steps already; ` +
            "give a later step, or leave --stop-after out",
          "stopAfter",
          last,
        );
      }
      metrics = openMetrics(run.folder.metrics, done);
      if (run.settings.steps !== steps) {
        writeSettings(run.folder.settings, { ...run.settings, steps });
      }
      // A terminal has their names beside the figures.
      const order = output.isTTY === true ? "" : `; figures are ${modelNames.join("/")}`;
      progress = startProgress(output, { done, last, steps, now });
      progress.note(
        done === 0
          ? `training ${last} of ${steps} steps${order}`
          : `going on after step ${done} of ${steps}${order}`,
      );
    },
    step: (record) => {
      metrics?.append(record);
      progress?.step(record);
    },
    flush: () => metrics?.flush(),
    note: (line) => {
      if (progress === undefined) output.write(`${line}\n`);
      else progress.note(line);
    },
    end: () => {
      progress?.finish();
      metrics?.close();
      progress = undefined;
      metrics = undefined;
    },
  };
}
