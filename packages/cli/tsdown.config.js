import { program } from "../../tools/tsdown.js";

export default program("src/main.ts", ["src/open-backend.ts"]);
