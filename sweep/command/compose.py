"""Composition by Hydra, once and only here; all later stages have typed models.

Files are read by `sweep.inputs.reader` and given to Hydra as data, so that no path or file of the user enters its
grammar. Keys of names, folders or other text do not pass through Hydra: their values stay text.
"""

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from sweep.errors import BadInput, did_you_mean
from sweep.inputs import settings
from sweep.inputs.conf import conf_dir, listing, meant, paths_of, questions
from sweep.inputs.door import Checked, admit
from sweep.inputs.reader import Document, read_yaml
from sweep.plan.composition import KEYS, composition, read_config
from sweep.run.request import Request

GROUPS = ("machine", "workload", "costs", "policy")  # axes whose values are names
TEXTS = (*settings.TEXTS, "runner.address", "grid", "runner")


def compose(overrides: Sequence[str], folders: Sequence[Path], command: str = "") -> Request:
    """The request of the configuration files and overrides; BadInput for any mistake."""
    paths = paths_of("grid", folders)
    chosen: dict[str, Any] = {}
    typed: dict[str, str] = {}
    for text in overrides:
        key, value = _parse(text, paths, folders)
        if key in typed:
            raise BadInput(f"{typed[key]!r} and {text!r}: {key} is given twice; a list is one value, quoted for the "
                           f"shell, like '{key}=[A,B]'")  # fmt: skip
        chosen[key], typed[key] = value, text
    grid = chosen.get("grid")
    if grid is None:
        raise BadInput("no grid given; choose one:\n" + listing(folders))
    base = read_config(folders)
    content, runner = _composed(chosen, typed, paths[grid], _runner_file(chosen.get("runner"), base, folders))
    composed, asked = composition(grid, questions(folders)[grid], content, chosen, base, folders)
    if asked.report is None:
        asked = asked.model_copy(update={"report": not asked.quiet})
    config_dir = str(folders[0]) if len(folders) > 1 else None
    return Request(composed, asked, runner, tuple(overrides), command, config_dir)


def configuration(overrides: Sequence[str], folders: Sequence[Path]) -> str:
    """The composed configuration as YAML, as Hydra's `--cfg job` prints it."""
    asked = compose(overrides, folders)
    composed = asked.composition
    defaults = {key: value for key, value in composed.defaults.items() if key not in composed.content}
    return as_yaml({**defaults, "grid": {**composed.content, **composed.pinned}, "runner": asked.runner.model_dump()})


def as_yaml(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(content), sort_keys=False, default_flow_style=None, width=100, allow_unicode=True)


def _runner_file(name: Any, base: Mapping[str, Any], folders: Sequence[Path]) -> Document:
    """The content of `runner/NAME.yaml`; a file of the user's folder only if the command line names it."""
    paths = paths_of("runner", folders if name is not None else [conf_dir()])
    name = meant(str(base.get("runner", "auto") if name is None else name), paths)
    if name not in paths:
        raise BadInput(f"runner={name}: no runner/{name}.yaml{did_you_mean(str(name), paths)}")
    return read_yaml(paths[name], f"runner/{name}")


def _composed(
    chosen: Mapping[str, Any], typed: Mapping[str, str], grid: Path, runner: Document
) -> tuple[dict[str, Any], settings.Runner]:
    """The grid's content and the runner, with the changes of the command line, parsed and as typed."""
    document = read_yaml(grid, f"grid/{grid.stem}")
    content = {} if document.content is None else document.content
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        raise BadInput(f"{document.where}: must be a mapping of axes with words as keys")
    files = OmegaConf.create({"grid": dict(content), "runner": dict(runner.content)})
    ConfigStore.instance().store(name="files", node=files)
    inner = [key for key in chosen if key.startswith(("grid.", "runner."))]
    plain = [typed[key] for key in inner if key not in TEXTS]
    try:
        sys.modules.setdefault("hydra_plugins", None)  # type: ignore[arg-type]  # no plugins are loaded
        with hydra.initialize_config_module("hydra.conf", version_base="1.3"):  # without groups or names of ours
            composed: Any = OmegaConf.to_container(hydra.compose("files", plain), resolve=True)
    except Exception as error:  # Hydra and OmegaConf raise many kinds; the input is wrong
        raise BadInput(f"{document.where}: {_one_line(error)}") from None
    texts = {key.partition(".")[2]: chosen[key] for key in inner if key in TEXTS}
    return composed["grid"], admit(_Chosen, {"runner": composed["runner"] | texts}).runner


class _Chosen(Checked):
    runner: settings.Runner


def _parse(text: str, grids: Mapping[str, Path], folders: Sequence[Path]) -> tuple[str, Any]:
    """Key and value of an override; mistakes with unhelpful messages in Hydra are reported here."""
    key, equals, typed = text.partition("=")
    added, bare = key.startswith("+"), meant(key.lstrip("+"), ("grid", *KEYS))
    if not equals or not bare:
        raise BadInput(f"{text!r}: must be KEY=VALUE")
    if bare == "grid":
        name = meant(_names("grid", typed, text), grids)
        if not added:
            raise BadInput(f"{text!r}: must be added, not overridden: write `+grid={name}`")
        if name not in grids:
            raise BadInput(f"grid {name!r}: no such grid{did_you_mean(name, grids)}\n{listing(folders)}")
        return "grid", name
    head, dot, _ = bare.partition(".")
    if bare not in KEYS and not (dot and head in ("grid", "runner")):
        raise BadInput(f"{text!r}: unknown key {bare!r}{did_you_mean(bare, KEYS)}")
    return bare, _names(bare, typed, text) if bare in TEXTS or bare in GROUPS else _value(text, bare, typed)


def _names(key: str, typed: str, text: str) -> Any:
    """A name, a list of names, or other text, taken literally without its quotes."""
    stripped = typed.strip()
    if not stripped:
        raise BadInput(f"{text!r}: {key} must be given a value")
    if stripped == "null" and key not in (*GROUPS, "grid", "runner"):
        return None
    if key not in GROUPS:
        return _unquoted(stripped) if stripped[0] in "\"'" else typed
    if not stripped.startswith("["):
        if "," in stripped and stripped[0] not in "\"'":
            raise BadInput(f"{text!r}: must be a list in place of Hydra's sweep, like `{key}=[{stripped}]`")
        return _unquoted(stripped)
    items = shlex.shlex(stripped[1:-1], posix=True)
    items.whitespace, items.whitespace_split, items.commenters, items.escape = ",", True, "", ""
    try:
        if stripped.endswith("]"):
            return [name for item in items if (name := item.strip())]
    except ValueError:  # a quote without its end
        pass
    raise BadInput(f"{text!r}: must be a name, or a list like `{key}=[a,b]`")


def _unquoted(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text


def _value(text: str, key: str, typed: str) -> Any:
    try:
        override = OverridesParser.create().parse_override(f"{key}={typed}")
    except Exception as error:  # the grammar raises many kinds
        raise BadInput(f"{text!r}: must be KEY=VALUE: {_one_line(error)}") from None
    try:
        return OmegaConf.to_container(OmegaConf.create([override.value()]))[0]  # type: ignore[index]
    except Exception:  # a sweep is no value of a configuration
        like = "{from:1,to:9,steps:3}" if "(" in typed else f"[{typed}]"
        raise BadInput(f"{text!r}: must be a list or a range in place of Hydra's sweep, like `{key}={like}`; a decimal "
                       "number has a point") from None  # fmt: skip


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:400] or type(error).__name__
