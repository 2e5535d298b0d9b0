import type { CommandWords, OptionWords } from "./words.ts";

/** A script for zsh, to be sourced after compinit, or a file `_moiety` in `fpath`. */
export function zshScript(commands: readonly CommandWords[]): string {
  const list = commands.map(
    ({ name, description }) => `    ${quoted(`${name}:${plain(description)}`)}`,
  );
  const cases = commands.map(({ name, options, choices }) => {
    const argument = choices.length > 0 ? `1:value:(${choices.join(" ")})` : "*:file:_files";
    const specs = [...options.map(specOf), "--help[show the help]", argument].map(quoted);
    return `    ${name})\n      _arguments ${specs.join(" \\\n        ")}\n      ;;`;
  });
  return `#compdef moiety
# moiety: completions for zsh
_moiety() {
  local -a commands=(
${list.join("\n")}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT -= 1 ))
  case $command in
${cases.join("\n")}
  esac
}
if [[ $funcstack[1] == _moiety ]]; then
  _moiety "$@"
else
  compdef _moiety moiety
fi
`;
}

function specOf({ flag, description, takesValue, choices }: OptionWords): string {
  const values = choices.length > 0 ? `(${choices.join(" ")})` : "_files";
  return `${flag}[${plain(description)}]${takesValue ? `:value:${values}` : ""}`;
}

/** Without the marks that separate the parts of a specification. */
function plain(text: string): string {
  return text.replaceAll(/[[\]:\\]/g, " ");
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
