"""Shell completion: `eval "$(sweep --completion)"` in bash, after `autoload bashcompinit; bashcompinit` in zsh."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sim.metrics import METRICS
from sim.policies import Policies
from sweep.inputs import settings
from sweep.inputs.catalog import QUANTITIES, catalog
from sweep.inputs.conf import questions
from sweep.inputs.costs import LITERATURE, Stored
from sweep.plan.points import NAMES
from sweep.tables.make import TABLES

OF_FOLDERS = ("compare", "next", "report", "runs", "status", "tables")  # verbs that take the folders of runs
KINDS = "policies machines workloads grids parameters tables metrics".split()
PLAIN = re.compile(r"[\w.][\w.+-]*", re.ASCII)  # the shell expands words: a name that is no plain word is not offered

SCRIPT = """\
_sweep_values() {
  case $1 in
%(cases)s
    *) echo "" ;;
  esac
}
_sweep_files() { # -d: folders, -f: files. Names are data: they are read line by line, and quoted by the shell
  local each
  while IFS= read -r each; do COMPREPLY+=("$3$each"); done < <(compgen "$1" -- "$2")
  compopt -o filenames 2>/dev/null
}
_sweep() {
  local word=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]} before= earlier= key= option= prefix=
  COMPREPLY=()
  [[ $COMP_CWORD -ge 1 ]] && before=${COMP_WORDS[COMP_CWORD-1]}
  [[ $COMP_CWORD -ge 2 ]] && earlier=${COMP_WORDS[COMP_CWORD-2]}
  if [[ $word == = ]]; then key=$before word=
  elif [[ $before == = ]]; then key=$earlier
  elif [[ $word == *=* ]]; then key=${word%%%%=*} prefix=${word%%%%=*}= word=${word#*=}
  else option=$before
  fi
  case ${key:+$key=}$option in
    --config-dir|--config-dir=|--out|--out=|out=|reuse=|policy_path=) _sweep_files -d "$word" "$prefix"; return ;;
    --measured|--measured=|--perf|--perf=|--markdown|--markdown=|--csv|--csv=|--vmstat|--stat|--interrupts)
      _sweep_files -f "$word" "$prefix"; return ;;
  esac
  case $earlier in --vmstat|--stat|--interrupts) _sweep_files -f "$word" ""; return ;; esac
  if [[ $COMP_CWORD -ge 2 ]]; then
    case $verb in
      %(of_folders)s|measure|profile)
        if [[ $word == -* || $verb == measure || $verb == profile ]]; then
          COMPREPLY=($(compgen -W "$(_sweep_values "$verb options")" -- "$word"))
        else
          _sweep_files -d "$word" ""
        fi
        return ;;
      list) COMPREPLY=($(compgen -W "%(kinds)s" -- "$word")); return ;;
      show)
        if [[ ${COMP_WORDS[2]} == point && $COMP_CWORD -eq 3 ]]; then
          _sweep_files -d "$word" ""
        else
          COMPREPLY=($(compgen -W "%(names)s" -- "$word"))
        fi
        return ;;
    esac
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
OPTIONS = {
    "compare": "--metric --rows --markdown --csv", "next": "--predict --out",
    "report": "--no-plots --out", "runs": "", "status": "--watch", "tables": "--out",
    "measure": "--config-dir --measured --no-fit",
    "profile": "--name --jobs --config-dir --keep-arguments --vmstat --stat --interrupts --perf",
}  # fmt: skip


def completion(folders: Sequence[Path]) -> str:
    """The bash function that completes verbs, keys, and values where they are names."""
    entries = catalog(folders)
    values: dict[str, Iterable[str]] = {name: entries[name] for name in ("machine", "workload")}
    values["costs"] = [LITERATURE, *Stored(folders)]
    values |= {"+grid": questions(folders), "policy": Policies(), "runner": ["auto", "serial", "ray"]}
    names = [
        "point",
        *Policies(),
        *entries["machine"],
        *entries["workload"],
        *questions(folders),
        *QUANTITIES,
        *TABLES,
    ]
    values |= {name: ["true", "false"] for name in ("quiet", "report", "dry_run")}
    return script([*QUANTITIES, *settings.NAMES, *NAMES, "runner"], values, [*names, *METRICS])


def script(keys: Iterable[str], values: Mapping[str, Iterable[str]], names: Iterable[str]) -> str:
    """The same from keys, the values of some of them, and names that `sweep show` knows."""
    cases = "\n".join(f'    {key}) echo "{_words(of_key)}" ;;' for key, of_key in values.items())
    for verb, own in OPTIONS.items():
        cases += f'\n    "{verb} options") echo "{own} --help" ;;'
    options = ["--help", "--version", "--config-dir", "--completion", "--cfg"]
    verbs = [*OF_FOLDERS, "list", "measure", "profile", "show"]
    return SCRIPT % {
        "cases": cases, "words": " ".join(["+grid=", *(f"{key}=" for key in keys), *verbs, *options]),
        "of_folders": "|".join(OF_FOLDERS), "kinds": " ".join(KINDS), "names": _words(names),
    }  # fmt: skip


def _words(names: Iterable[str]) -> str:
    return " ".join(name for name in names if PLAIN.fullmatch(name))
