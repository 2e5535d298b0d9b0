import manifest from "../package.json" with { type: "json" };

/** Version of this kit. */
export const kitVersion: string = manifest.version;
