import { type RoutedToken, expertLayers, traceLine, traceReport } from "@moiety/models";
import { type ResultFile, openResultFile } from "../conform/result-file.ts";
import type { OpenModel } from "../open-model.ts";
import type { Prompt } from "./prompt.ts";

/** A trace that is kept while a model runs, and written after it. */
export interface TraceFile {
  readonly onRouted: (token: RoutedToken) => void;
  /** Writes it. */
  write(model: OpenModel, prompt: Prompt): Promise<void>;
  /** Leaves no trace, where nothing was written. */
  abandon(): Promise<void>;
}

/**
 * Opens a trace: a page of drawings where the file's name ends with `.html`, else lines of JSON.
 * @throws ConfigError for a file that cannot be written
 */
export async function openTraceFile(path: string): Promise<TraceFile> {
  const file: ResultFile = await openResultFile(path, "trace");
  const records: RoutedToken[] = [];
  return {
    onRouted: (token) => void records.push(token),
    async write({ model, folder }, { codec }) {
      const isPage = path.toLowerCase().endsWith(".html");
      await file.write(
        isPage
          ? traceReport(records, {
              title: `Where the tokens of ${folder.name} went`,
              layers: expertLayers(model.config),
              tokens: codec && ((token) => codec.decode([token]) || `[${token}]`),
            })
          : records.map((record) => `${traceLine(record)}\n`).join(""),
      );
    },
    abandon: () => file.abandon(),
  };
}
