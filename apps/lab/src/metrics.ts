import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeSync } from "node:fs";
import { FormatError } from "@moiety/core";
import { writeFileAtomically } from "./atomic-file.ts";
import type { StepRecord } from "./result.ts";
import { difference } from "./shape-check.ts";
import { modelNames } from "./twins.ts";

/** Appends step records to a file, one JSON object for each line. */
export interface MetricsWriter {
  /** Appends one record. */
  append(record: StepRecord): void;
  /** Returns once all that was appended is on the disk: to be called before a checkpoint. */
  flush(): void;
  /** Flushes and closes; nothing can be appended afterwards. */
  close(): void;
}

/**
 * Opens the records of a run for appending. Whatever stands behind step `done` is cut away first,
 * a torn last line too, so that a run that goes on from a checkpoint has each step once.
 *
 * @param done steps that the checkpoint holds; 0 for a new run.
 * @throws FormatError where a record up to `done` is missing or damaged; the file stays as it was.
 */
export function openMetrics(path: string, done: number): MetricsWriter {
  if (done > 0 || existsSync(path)) {
    const kept = readMetrics(path, done);
    writeFileAtomically(path, kept.map((record) => `${JSON.stringify(record)}\n`).join(""));
  }
  const file = openSync(path, "a");
  return {
    append: (record) => writeWhole(file, `${JSON.stringify(record)}\n`),
    flush: () => fsyncSync(file),
    close: () => {
      fsyncSync(file);
      closeSync(file);
    },
  };
}

/**
 * Reads the records of the first `done` steps.
 *
 * @throws FormatError where one is missing, stands twice or is damaged.
 */
export function readMetrics(path: string, done: number): readonly StepRecord[] {
  const content = existsSync(path) ? readFileSync(path) : Buffer.alloc(0);
  const records: StepRecord[] = [];
  const expected = done * modelNames.length;
  let start = 0;
  while (records.length < expected) {
    const end = content.indexOf(10, start);
    const line = end < 0 ? null : content.toString("utf8", start, end);
    const record = line === null ? null : parseRecord(line);
    const step = 1 + Math.floor(records.length / modelNames.length);
    const model = modelNames[records.length % modelNames.length];
    if (record === null || record.step !== step || record.model !== model) {
      throw new FormatError(
        `${path}: line ${records.length + 1} is not a whole record of step ${step} of ${model}, ` +
          `but the checkpoint holds ${done} steps: restore the file, or start a new run`,
        start,
      );
    }
    records.push(record);
    start = end + 1;
  }
  return records;
}

function parseRecord(line: string): StepRecord | null {
  try {
    const value: unknown = JSON.parse(line);
    return isStepRecord(value) ? value : null;
  } catch {
    return null;
  }
}

function isStepRecord(value: unknown): value is StepRecord {
  const example: StepRecord = {
    step: 1,
    model: "sparse",
    loss: 1,
    bitsPerByte: 1,
    balanceLoss: 0,
    learningRate: 1,
    gradientNorm: 1,
    tokensPerSecond: 1,
    load: [[1]],
  };
  return difference(example, value) === null;
}

function writeWhole(file: number, text: string): void {
  const bytes = Buffer.from(text);
  let written = 0;
  while (written < bytes.length) written += writeSync(file, bytes, written);
}
