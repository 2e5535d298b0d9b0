import { library } from "../../tools/tsdown.js";

export default {
  ...library(["src/index.ts"]),
  // The declarations name WebGPU's types, which are global and come with the package.
  banner: { dts: '/// <reference types="@webgpu/types" />' },
};
