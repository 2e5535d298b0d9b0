/**
 * What a stranger installs, and the program he writes with it. Each is packed, installed into a blank
 * project, compiled under strict TypeScript and run.
 *
 * @type {readonly { name: string, packages: readonly string[], consumer: string }[]}
 */
export const cases = [
  { name: "core alone", packages: ["@moiety/core"], consumer: "core-alone.ts" },
  {
    name: "core, routers and losses without a backend",
    packages: ["@moiety/core", "@moiety/routers", "@moiety/losses"],
    consumer: "without-backend.ts",
  },
  {
    name: "a layer on the reference backend",
    packages: ["@moiety/core", "@moiety/routers", "@moiety/experts", "@moiety/backend-cpu"],
    consumer: "layer.ts",
  },
];
