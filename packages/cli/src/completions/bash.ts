import type { CommandWords } from "./words.ts";

/** A script for bash, to be sourced. Where it knows no words, bash completes files. */
export function bashScript(commands: readonly CommandWords[]): string {
  const cases = commands.flatMap(({ name, options }) =>
    options.flatMap(({ flag, takesValue, choices }) =>
      takesValue ? [`    "${name} ${flag}") words="${choices.join(" ")}" ;;`] : [],
    ),
  );
  const others = commands.map(({ name, options, choices }) => {
    const flags = [...options.map(({ flag }) => flag), "--help"].join(" ");
    return `    "${name} "*) [[ $current == -* ]] && words="${flags}" || words="${choices.join(" ")}" ;;`;
  });
  return `# moiety: completions for bash
_moiety() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD - 1]} words=""
  COMPREPLY=()
  case "\${COMP_WORDS[1]} $previous" in
    "$current moiety" | *" \${COMP_WORDS[0]}") words="${commands.map(({ name }) => name).join(" ")}" ;;
${[...cases, ...others].join("\n")}
  esac
  [[ -n $words ]] && COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _moiety moiety
`;
}
