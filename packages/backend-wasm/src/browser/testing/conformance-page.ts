import { type Profile, type Report, conform } from "@moiety/conformance";
import create, { loseDevice } from "../../index.ts";

/** Holds the backend to the kit in the page and gives the report. */
export default async function run(profile: Profile): Promise<Report> {
  return conform({ createBackend: () => create(), profile, loseDevice, requireDevice: true });
}
