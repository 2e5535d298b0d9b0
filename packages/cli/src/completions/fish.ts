import type { CommandWords, OptionWords } from "./words.ts";

/** A script for fish, to be sourced. */
export function fishScript(commands: readonly CommandWords[]): string {
  const lines = commands.flatMap(({ name, description, options, choices }) => {
    const inCommand = `complete -c moiety -n ${quoted(`__fish_seen_subcommand_from ${name}`)}`;
    const values = choices.length > 0 ? [`${inCommand} -f -a ${quoted(choices.join(" "))}`] : [];
    return [
      `complete -c moiety -n __fish_use_subcommand -f -a ${name} -d ${quoted(description)}`,
      ...values,
      ...options.map((option) => `${inCommand} ${optionText(option)}`),
    ];
  });
  return `# moiety: completions for fish\n${lines.join("\n")}\n`;
}

function optionText({ flag, description, takesValue, choices }: OptionWords): string {
  const value = !takesValue
    ? ""
    : choices.length > 0
      ? ` -x -a ${quoted(choices.join(" "))}`
      : " -r";
  return `-l ${flag.replace(/^--/, "")}${value} -d ${quoted(description)}`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
