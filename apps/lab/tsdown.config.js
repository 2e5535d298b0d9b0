import { library } from "../../tools/tsdown.js";

export default library(["src/index.ts"]);
