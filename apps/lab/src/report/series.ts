import { loadStatistics } from "../loads.ts";
import type { ModelName, StepRecord } from "../result.ts";
import { mean } from "../statistics.ts";
import { modelNames } from "../twins.ts";

/** One line of a chart; a null is no point. */
export interface Series {
  readonly label: string;
  readonly values: readonly (number | null)[];
  /** Name of the style property that holds its colour. */
  readonly color: string;
  readonly width: number;
  /** Whether single points are marked. */
  readonly points: boolean;
  /** Decimal places in the legend. */
  readonly decimals: number;
}

/** A chart over steps. */
export interface Chart {
  /** Id of the element in which it stands. */
  readonly id: string;
  readonly steps: readonly number[];
  readonly series: readonly Series[];
}

/** Steps that a chart shows as one place, averaged: between 100 and 200 places for a long run. */
export function stepsAPlace(steps: number): number {
  return Math.max(1, Math.floor(steps / 100));
}

/** Training and held-out bits/byte of all models. */
export function lossChart(records: readonly StepRecord[]): Chart {
  const groups = grouped(records);
  const line = (model: ModelName, heldOut: boolean): Series => ({
    label: `${model}, ${heldOut ? "held out" : "training"}`,
    values: groups.map(({ members }) =>
      averageOf(
        members
          .filter((record) => record.model === model)
          .map((record) => (heldOut ? record.heldOutBitsPerByte : record.bitsPerByte)),
      ),
    ),
    color: heldOut ? `--${model}` : `--${model}-soft`,
    width: heldOut ? 2.5 : 1.5,
    points: heldOut,
    decimals: 3,
  });
  return {
    id: "loss-chart",
    steps: groups.map(({ last }) => last),
    series: [
      ...modelNames.map((name) => line(name, false)),
      ...modelNames.map((name) => line(name, true)),
    ],
  };
}

/** The busiest expert's load over the mean in each layer of the sparse model. */
export function imbalanceChart(records: readonly StepRecord[]): Chart {
  const groups = grouped(records.filter((record) => record.model === "sparse"));
  const layers = records[0]?.load.length ?? 0;
  return {
    id: "imbalance-chart",
    steps: groups.map(({ last }) => last),
    series: Array.from({ length: layers }, (_, layer) => ({
      label: `layer ${layer}`,
      values: groups.map(({ members }) =>
        averageOf(members.map((record) => loadStatistics(record.load[layer] ?? []).imbalance)),
      ),
      color: `--layer-${layer % 6}`,
      width: 2,
      points: false,
      decimals: 2,
    })),
  };
}

/** Each expert's share of one layer's assignments over time. */
export interface LoadHistory {
  /** The last step of each place. */
  readonly steps: readonly number[];
  /** `[expert][place]`, from 0 to 1. */
  readonly shares: readonly (readonly number[])[];
}

/** Averages the load of one layer of the sparse model in at most `places` places. */
export function loadHistory(
  records: readonly StepRecord[],
  layer: number,
  places: number,
): LoadHistory {
  const own = records.filter((record) => record.model === "sparse");
  const each = Math.max(1, Math.ceil(own.length / places));
  const groups = grouped(own, each);
  const rows = groups.map(({ members }) => {
    const shares = members.map((record) => loadStatistics(record.load[layer] ?? []).shares);
    return (shares[0] ?? []).map((_, expert) => mean(shares.map((share) => share[expert] ?? 0)));
  });
  return {
    steps: groups.map(({ last }) => last),
    shares: (rows[0] ?? []).map((_, expert) => rows.map((row) => row[expert] ?? 0)),
  };
}

interface Group {
  readonly last: number;
  readonly members: readonly StepRecord[];
}

/** Records of neighbouring steps together, in the order of steps. */
function grouped(records: readonly StepRecord[], each?: number): readonly Group[] {
  const steps = records.at(-1)?.step ?? 0;
  const size = each ?? stepsAPlace(steps);
  const groups = new Map<number, StepRecord[]>();
  for (const record of records) {
    const place = Math.floor((record.step - 1) / size);
    const members = groups.get(place);
    if (members === undefined) groups.set(place, [record]);
    else members.push(record);
  }
  return [...groups.values()].map((members) => ({ last: members.at(-1)?.step ?? 0, members }));
}

function averageOf(values: readonly (number | undefined)[]): number | null {
  const known = values.filter((value) => value !== undefined);
  return known.length === 0 ? null : mean(known);
}
