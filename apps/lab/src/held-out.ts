import { foldIn, hostBits } from "@moiety/core";
import type { RandomKey } from "@moiety/core";
import type { Domain } from "./domain.ts";
import { choice } from "./random-choice.ts";
import { readWindows } from "./windows.ts";
import type { Batch, Window } from "./windows.ts";

/**
 * The windows on which the models are compared, domain after domain, equally many from each.
 *
 * Their predictions do not overlap, since the interval of the comparison takes the sequences for
 * independent: each held-out part is cut into windows from a random first byte, and some of them
 * are drawn. So a mean over all windows is the mean over the domains.
 *
 * @param wanted windows over all domains, rounded up to a multiple of the domains; fewer where the
 *   shortest held-out part holds fewer.
 * @param length predictions in a window.
 */
export function heldOutWindows(
  domains: readonly Domain[],
  key: RandomKey,
  wanted: number,
  length: number,
): readonly Window[] {
  const places = domains.map((domain) => Math.floor((domain.heldOut.length - 1) / length));
  const each = Math.min(Math.ceil(wanted / domains.length), ...places);
  return domains.flatMap((domain, index) => {
    const count = places[index] ?? 0;
    const bits = hostBits(foldIn(key, index), count + 1);
    const first = choice(bits[count] ?? 0, domain.heldOut.length - count * length);
    return Array.from({ length: count }, (_, place) => place)
      .sort((a, b) => (bits[a] ?? 0) - (bits[b] ?? 0) || a - b)
      .slice(0, each)
      .sort((a, b) => a - b)
      .map((place): Window => ({ domain: index, start: first + place * length }));
  });
}

/** The first windows of every domain: a cheaper comparison that is still even over the domains. */
export function partOfWindows(windows: readonly Window[], part: number): readonly Window[] {
  const seen = new Map<number, number>();
  const total = new Map<number, number>();
  for (const { domain } of windows) total.set(domain, (total.get(domain) ?? 0) + 1);
  return windows.filter(({ domain }) => {
    const place = seen.get(domain) ?? 0;
    seen.set(domain, place + 1);
    return place < Math.ceil((total.get(domain) ?? 0) * part);
  });
}

/**
 * Held-out windows in batches of at most `rows` rows, in the order given. No batch mixes domains,
 * so the load of a batch is the load of its domain.
 */
export function heldOutBatches(
  domains: readonly Domain[],
  windows: readonly Window[],
  rows: number,
  length: number,
): readonly Batch[] {
  const groups: Window[][] = [];
  for (const window of windows) {
    const last = groups.at(-1);
    if (last !== undefined && last.length < rows && last[0]?.domain === window.domain) {
      last.push(window);
    } else {
      groups.push([window]);
    }
  }
  return groups.map((group) => readWindows(domains, "heldOut", group, length));
}
