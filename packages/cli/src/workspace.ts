import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** Name of the manifest at the root of Moiety's repository. */
const WORKSPACE = "moiety-workspace";

/** The repository that a folder lies in; `undefined` where it is no part of ours. */
export function workspaceAbove(folder: string): string | undefined {
  for (let place = folder; ; place = dirname(place)) {
    const manifest = join(place, "package.json");
    if (existsSync(manifest) && nameIn(manifest) === WORKSPACE) return place;
    if (dirname(place) === place) return undefined;
  }
}

function nameIn(manifest: string): unknown {
  try {
    return (JSON.parse(readFileSync(manifest, "utf8")) as { readonly name?: unknown } | null)?.name;
  } catch {
    // Somebody else's broken manifest is not ours.
    return undefined;
  }
}
