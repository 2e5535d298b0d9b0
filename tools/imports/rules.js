/**
 * Which of our packages may import which. A package that is not named here may not exist: adding one
 * means deciding where it stands.
 *
 * @type {Record<string, readonly string[] | "all">}
 */
export const directions = {
  "@moiety/core": [],
  "@moiety/routers": ["@moiety/core"],
  "@moiety/experts": ["@moiety/core"],
  "@moiety/losses": ["@moiety/core"],
  "@moiety/backend-cpu": ["@moiety/core"],
  "@moiety/backend-wasm": ["@moiety/core"],
  "@moiety/backend-webgpu": ["@moiety/core"],
  "@moiety/conformance": ["@moiety/core", "@moiety/backend-cpu"],
  "@moiety/checkpoints": ["@moiety/core"],
  "@moiety/train": [
    "@moiety/core",
    "@moiety/routers",
    "@moiety/experts",
    "@moiety/losses",
    "@moiety/checkpoints",
  ],
  "@moiety/models": [
    "@moiety/core",
    "@moiety/routers",
    "@moiety/experts",
    "@moiety/losses",
    "@moiety/checkpoints",
  ],
  "@moiety/lab": [
    "@moiety/core",
    "@moiety/routers",
    "@moiety/experts",
    "@moiety/losses",
    "@moiety/checkpoints",
    "@moiety/models",
    "@moiety/train",
  ],
  moiety: "all",
};

/** Packages that live in Node alone; in all others `node:` is for `src/node.ts` and `src/node/`. */
export const nodePackages = ["moiety", "@moiety/lab"];
