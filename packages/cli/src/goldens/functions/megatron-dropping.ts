import { type RouteContext, type Tensor } from "@moiety/core";
import { type MegatronOptions, type ReplayContext, megatronRouter } from "@moiety/routers";
import { type GoldenCase, type Values, requireTensor } from "../case.ts";
import { countOf } from "../config.ts";
import { type CaseHandler, type RunContext, isFloat32Run, openLedger } from "../handler.ts";
import type { Ledger } from "../ledger.ts";
import { floatTensor, indexTensor, takeValues, zeroValues } from "../values.ts";
import { choiceMap, spreadChoices } from "./choice-maps.ts";
import { routeLogits } from "./route-logits.ts";

/**
 * `megatron_dropping`: Megatron-LM's dropping after softmax and top-k of logits `[T, E]`: the routing
 * before and after. Which of equals it drops, and what it pads with, is arbitrary in the source.
 */
export const megatronDropping: CaseHandler = async (golden, context) => {
  const { config } = golden;
  const experts = countOf(config, "num_experts");
  const byPosition = config["drop_policy"] === "position";
  const dropless: MegatronOptions = {
    hiddenSize: experts,
    numMoeExperts: experts,
    moeRouterTopk: countOf(config, "topk"),
    moeRouterPreSoftmax: true,
  };
  const capped: MegatronOptions = {
    ...dropless,
    moeExpertCapacityFactor: Number(config["capacity_factor"]),
    moeTokenDropPolicy: byPosition ? "position" : "probs",
  };
  const ledger = openLedger(
    golden,
    context,
    [experts],
    (name) => isFloat32Run(name) || name === "logits",
  );
  const before = await mapsOf(golden, dropless, context);
  ledger.compare("routing_probs", before.probs);
  ledger.compare("routing_map", before.map);
  const after = await mapsOf(golden, capped, context);
  const recorded = requireTensor(golden, "final_map");
  const places = capacityOf(before, capped);
  if (byPosition) {
    const replayed = await mapsOf(golden, capped, context, placedBy(before.selected, recorded));
    ledger.compare("final_probs", replayed.probs);
    judgePosition(ledger, { before: before.map, after: after.map, recorded, places });
  } else {
    ledger.compare("final_probs", after.probs);
    if (config["pad_to_capacity"] === true) {
      judgePadding(ledger, after.map, recorded, requireTensor(golden, "final_probs"));
    } else ledger.compare("final_map", after.map);
  }
  return ledger.close();
};

interface Maps {
  /** `[T, E]`. */
  readonly probs: Values;
  /** `[T, E]`, 1 where a token goes to an expert. */
  readonly map: Values;
  /** `[T, k]`. */
  readonly selected: Values;
}

async function mapsOf(
  golden: GoldenCase,
  options: MegatronOptions,
  run: RunContext,
  placed?: Values,
): Promise<Maps> {
  const { backend, precision } = run;
  const results = backend.scope((): Record<string, Tensor> => {
    const logits = floatTensor(backend, requireTensor(golden, "logits"), precision);
    const replay: ReplayContext = { placed: placed && indexTensor(backend, placed) };
    const context: RouteContext = replay;
    const routing = routeLogits(megatronRouter(options), {}, logits, context);
    const { indices, outputWeights, selected, experts } = routing;
    return {
      probs: spreadChoices(outputWeights, indices, experts),
      map: choiceMap(indices, experts),
      selected,
    };
  });
  const values = await takeValues(results, run);
  const take = (name: keyof Maps): Values => values.get(name) ?? zeroValues([0]);
  return { probs: take("probs"), map: take("map"), selected: take("selected") };
}

/** `[T, k]`: the choices that a recorded map keeps, `E` for the others. */
function placedBy(selected: Values, map: Values): Values {
  const [, k = 1] = selected.shape;
  const [, experts = 0] = map.shape;
  return {
    shape: selected.shape,
    data: selected.data.map((expert, place) =>
      map.data[Math.floor(place / k) * experts + expert] === 1 ? expert : experts,
    ),
  };
}

/** Places of an expert, as the source computes them. */
function capacityOf({ map, selected }: Maps, options: MegatronOptions): number {
  const [, experts = 1] = map.shape;
  const { moeExpertCapacityFactor: factor = 1 } = options;
  return Math.ceil((selected.data.length / experts) * factor);
}

function judgePosition(
  ledger: Ledger,
  maps: {
    readonly before: Values;
    readonly after: Values;
    readonly recorded: Values;
    readonly places: number;
  },
): void {
  const { before, after, recorded, places } = maps;
  const wanted = loadsOf(before).map((load) => Math.min(load, places));
  const broken = ([name, map]: readonly [string, Values]): string | undefined => {
    if (map.data.some((kept, at) => kept !== 0 && before.data[at] !== 1)) {
      return `${name} keeps a token that was not routed`;
    }
    const loads = loadsOf(map);
    if (loads.every((load, expert) => load === wanted[expert])) return undefined;
    return `${name} keeps ${loads.join(", ")} tokens, not ${wanted.join(", ")}`;
  };
  const problems = [["ours", after] as const, ["the record", recorded] as const].map(broken);
  ledger.judge(
    "final_map",
    "which tokens the source drops by position is arbitrary; every expert keeps exactly " +
      "min(capacity, routed) of its routed tokens, and probabilities are compared on the recorded map",
    problems.find((problem) => problem !== undefined),
  );
}

function judgePadding(ledger: Ledger, map: Values, recorded: Values, probs: Values): void {
  const off = map.data.findIndex(
    (kept, at) => kept !== ((probs.data[at] ?? 0) > 0 ? recorded.data[at] : 0),
  );
  const [, experts = 1] = map.shape;
  const loads = loadsOf(recorded);
  const uneven = loads.some((load) => load !== loads[0]);
  ledger.judge(
    "final_map",
    "what the source pads with is arbitrary; compared where the probability is above 0",
    off >= 0
      ? `row ${Math.floor(off / experts)} differs`
      : uneven
        ? `the record pads experts to ${loads.join(", ")} tokens`
        : undefined,
  );
}

/** Sums of columns. */
function loadsOf({ shape, data }: Values): number[] {
  const [, experts = 0] = shape;
  const loads = new Array<number>(experts).fill(0);
  for (const [at, value] of data.entries()) {
    loads[at % experts] = (loads[at % experts] ?? 0) + value;
  }
  return loads;
}
