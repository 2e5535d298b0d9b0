import { library } from "../../tools/tsdown.js";

export default library(["src/index.ts", "src/markup.ts", "src/text.ts"]);
