import { type Family, families } from "@moiety/models";
import { blockHandler } from "./block.ts";
import type { GoldenCase } from "./case.ts";
import { functions } from "./functions/index.ts";
import type { CaseHandler } from "./handler.ts";
import { modelCase } from "./model.ts";

/** How a case is run, or why it is not. */
export type HandlerChoice =
  | { readonly run: CaseHandler }
  | {
      /** Why it is not. */
      readonly unsupported: string;
      /** Whether nobody here knows the family or function; else it is known, but not built. */
      readonly unknown: boolean;
    };

/** Before the names of folders with whole models. */
const MODEL = "model-";

/** After the names of families whose cases a later release of transformers made. */
const RELEASE = /-v\d+$/;

/** Chooses the handler by what the case is: a function, a whole model or a block of a family. */
export function handlerOf(golden: GoldenCase): HandlerChoice {
  const { family, tensors } = golden;
  const run = Object.hasOwn(functions, family) ? functions[family] : undefined;
  if (run) return { run };
  if (family.startsWith(MODEL)) return modelHandlerOf(golden);
  const found = familyNamed(family.replace(RELEASE, ""));
  if (found) return { run: blockHandler(found) };
  const isBlock = tensors.has("x") && tensors.has("upstream");
  const what = `the ${isBlock ? "family" : "function"} ${family}`;
  return { unsupported: `${what} is not known`, unknown: true };
}

function modelHandlerOf({ family, config }: GoldenCase): HandlerChoice {
  const type = config["model_type"];
  if (typeof type !== "string") return { run: modelCase };
  const found = familyNamed(type);
  if (found?.decoder) return { run: modelCase };
  const what = found ? "whole models of the family" : "the family";
  const why = found ? "are not built yet" : "is not known";
  return { unsupported: `${family}: ${what} ${type} ${why}`, unknown: found === undefined };
}

function familyNamed(name: string): Family | undefined {
  return Object.hasOwn(families, name) ? families[name] : undefined;
}
