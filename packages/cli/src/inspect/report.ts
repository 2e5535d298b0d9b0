import { textTable } from "../text-table.ts";
import { bytesText, countText, flopsText } from "../units.ts";
import type { Inspection } from "./inspection.ts";
import type { AttentionFacts, ExpertFacts, LayerFacts } from "./layer-facts.ts";
import type { MemoryNeed } from "./memory.ts";

const UNKNOWN = "not known";

/** An inspection for people. */
export function formatInspection(found: Inspection): string[] {
  const { family, architecture, memory, unsupported } = found;
  const rows: [string, string][] = [
    ["family", [family ?? UNKNOWN, architecture && `(${architecture})`].filter(Boolean).join(" ")],
    ["layers", layersText(found)],
    ["experts", expertsText(found)],
    ["sizes", sizesText(found)],
    ["attention", distinct(found.layers, ({ attention }) => attentionText(attention)) || UNKNOWN],
    ["parameters", parametersText(found)],
    ["stored", storedText(found)],
    ["decode", decodeText(found)],
    ["cache", cacheText(found)],
  ];
  const label = Math.max(...rows.map(([name]) => name.length));
  return [
    found.folder,
    ...rows.map(([name, text]) => `${name.padEnd(label)}  ${text}`),
    "",
    ...textTable([
      ["experts in, rest in", "resident", "read per token"],
      ...memory.map((need) => memoryRow(need)),
    ]),
    "",
    ...(unsupported.length === 0
      ? ["supported   all of it"]
      : unsupported.map((line) => `unsupported: ${line}`)),
  ];
}

function layersText({ layerCount, layers }: Inspection): string {
  if (layers.length === 0) return layerCount === null ? UNKNOWN : `${layerCount}`;
  const sparse = layers.filter(({ experts }) => experts !== null).length;
  const dense = layers.length - sparse;
  const widths = distinct(layers, (layer) => (layer.dense === null ? "" : `${layer.dense}`));
  const rest = dense === 0 ? "" : `, ${dense} dense of width ${widths}`;
  return `${layers.length}: ${sparse} with experts${rest}`;
}

function expertsText({ layers, experts }: Inspection): string {
  const ofLayers = distinct(layers, (layer) => (layer.experts ? layerExperts(layer.experts) : ""));
  return ofLayers || (experts ? layerExperts(experts) : UNKNOWN);
}

function layerExperts(facts: ExpertFacts): string {
  const { experts, networks, chosen, intermediateSize, sharedIntermediateSize: shared } = facts;
  const special = experts === networks ? "" : ` (${experts - networks} of them without weights)`;
  return [
    `${experts} in a layer${special}`,
    chosen === null ? "a varying number chosen per token" : `${chosen} chosen per token`,
    `width ${intermediateSize}`,
    shared === null ? "none shared" : `shared width ${shared}`,
  ].join(", ");
}

function sizesText({ hiddenSize, vocabSize }: Inspection): string {
  return `hidden ${hiddenSize ?? UNKNOWN}, vocabulary ${vocabSize ?? UNKNOWN}`;
}

function attentionText(facts: AttentionFacts): string {
  const { kind, heads, keyValueHeads, keyWidth, valueWidth, window, sinks, ropeScaling } = facts;
  const width = keyWidth === valueWidth ? `${keyWidth}` : `${keyWidth} (values ${valueWidth})`;
  const keys = kind === "latent" ? "" : `, ${keyValueHeads} for keys and values`;
  return [
    `${kind}: ${heads} heads${keys}, width ${width}`,
    ...(window === null ? [] : [`window ${window}`]),
    ...(sinks ? ["sinks"] : []),
    ...(ropeScaling === null ? [] : [`${ropeScaling} positions`]),
  ].join(", ");
}

function parametersText({ parameters: { total, active }, built }: Inspection): string {
  const used = active === undefined ? "active not known" : `${countText(active)} active per token`;
  const basis = built === "model" ? "" : " (by the names of tensors)";
  return `${countText(total)}, ${used}${basis}`;
}

function storedText({ stored }: Inspection): string {
  return stored
    .map(({ dtype, tensors, bytes }) => `${dtype} ${bytesText(bytes)} in ${tensors} tensors`)
    .join(", ");
}

function decodeText({ flopsPerToken, flopsPerCachedToken }: Inspection): string {
  if (flopsPerToken === null) return UNKNOWN;
  const attention =
    flopsPerCachedToken === null
      ? " without attention's over the cache"
      : `, and ${flopsText(flopsPerCachedToken)} for each token in the cache`;
  return `${flopsText(flopsPerToken)} per token${attention}`;
}

function cacheText({ cacheBytesPerToken: bytes }: Inspection): string {
  return bytes === null ? UNKNOWN : `${bytesText(bytes)} per token (f32)`;
}

function memoryRow({ experts, rest, bytes, bytesPerToken }: MemoryNeed): string[] {
  const text = (count: number | null, none: string): string =>
    count === null ? none : bytesText(count);
  const read = bytes === null ? "" : text(bytesPerToken, UNKNOWN);
  return [`${experts}, ${rest}`, text(bytes, "rows are no whole blocks"), read];
}

/** What layers have, each only once, with how many have it where they differ. */
function distinct(layers: readonly LayerFacts[], textOf: (layer: LayerFacts) => string): string {
  const counts = new Map<string, number>();
  for (const layer of layers) {
    const text = textOf(layer);
    if (text !== "") counts.set(text, (counts.get(text) ?? 0) + 1);
  }
  if (counts.size <= 1) return [...counts.keys()].join("");
  const inLayers = (count: number): string => (count === 1 ? "1 layer" : `${count} layers`);
  return [...counts].map(([text, count]) => `${text} (${inLayers(count)})`).join("; ");
}
