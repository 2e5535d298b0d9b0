import { expertFormats, restFormats } from "@moiety/models";
import { Option } from "commander";

/** The option, called by its command's own `flag`, for the format of the experts' matrices. */
export function expertsOption(flag: string): Option {
  return new Option(
    `${flag} <format>`,
    "format of the experts' matrices; products in one with a8 round activations to 8 bits",
  ).choices(Object.keys(expertFormats));
}

/** The option for how the other matrices are held. */
export function restOption(): Option {
  return new Option(
    "--rest <format>",
    "dtype or format of the other matrices, and of the experts where they are given none",
  ).choices(restFormats);
}
