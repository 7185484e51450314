"""Shell completion: `eval "$(sweep --completion)"` in bash, after `autoload bashcompinit; bashcompinit` in zsh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

SCRIPT = """\
_sweep_values() {
  case $1 in
%(cases)s
    *) echo "" ;;
  esac
}
_sweep() {
  local word=${COMP_WORDS[COMP_CWORD]} key= prefix=
  if [[ $word == = ]]; then key=${COMP_WORDS[COMP_CWORD-1]} word=
  elif [[ $COMP_CWORD -ge 2 && ${COMP_WORDS[COMP_CWORD-1]} == = ]]; then key=${COMP_WORDS[COMP_CWORD-2]}
  elif [[ $word == *=* ]]; then key=${word%%%%=*} prefix=$key= word=${word#*=}
  fi
  if [[ -n $key ]]; then
    COMPREPLY=($(compgen -P "$prefix" -W "$(_sweep_values "$key")" -- "$word"))
  else
    COMPREPLY=($(compgen -W "%(words)s" -- "$word"))
    [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
  fi
}
complete -F _sweep sweep
"""


def script(keys: Sequence[str], values: Mapping[str, Sequence[str]]) -> str:
    """The bash function that completes these keys, and their values where they are names."""
    cases = "\n".join(f'    {key}) echo "{" ".join(names)}" ;;' for key, names in values.items())
    words = ["+grid=", *(f"{key}=" for key in keys), "--help", "--version", "--config-dir", "--completion"]
    return SCRIPT % {"cases": cases, "words": " ".join(words)}
