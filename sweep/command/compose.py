"""Hydra composes once, here and only here; from then on there are dataclasses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, make_dataclass
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweep.errors import BadInput, did_you_mean
from sweep.inputs.catalog import QUANTITIES, Entry, inherit, read_entry
from sweep.inputs.conf import listing, questions
from sweep.inputs.costs import Stored
from sweep.plan.open import Composition
from sweep.plan.points import NAMES
from sweep.run.request import Request
from sweep.run.runner import Runner

GROUPS = ("machine", "workload", "costs")  # names whose values are files
SETTINGS: dict[str, Any] = {
    "out": None,
    "policy_path": None,
    "max_points": 10_000_000,
    "max_cpu_hours": 24.0,
    "chunk_s": 10.0,
    "quiet": False,
    "report": None,
    "dry_run": False,
    "seed": 0,
    "replicas": 4,
}
SETTINGS |= {"draws": None, "points": None, "reuse": None, "max_failures": None, "retry_failed": False, "commit": None}


def compose(overrides: Sequence[str], folders: Sequence[Path]) -> Request:
    """The request that the configuration files and overrides describe; BadInput for anything that is off."""
    known = questions(folders)
    parsed = _parse(overrides, known, folders)
    grid = next((value for key, value in parsed if key == "grid"), None)
    if grid is None:
        raise BadInput("no grid given; choose one:\n" + listing(folders))
    schema = make_dataclass(
        "Config",
        [(name, Any, field(default=None)) for name in QUANTITIES]
        + [(name, Any, field(default=None)) for name in (*NAMES, "grid", "runner")]
        + [(name, Any, field(default=value)) for name, value in SETTINGS.items() if name not in QUANTITIES],
    )
    ConfigStore.instance().store(name="schema", node=schema)
    # machine, workload and costs are axes to us; to Hydra their names are groups, which cannot be given lists
    plain = [text for text, (key, _) in zip(overrides, parsed, strict=True) if key not in GROUPS]
    chosen = {key: value for key, value in parsed if key in GROUPS}
    try:
        config = _compose_file("config", plain, folders)
    except (HydraException, OmegaConfBaseException) as error:
        raise BadInput(_one_line(error)) from None
    entries = catalog(folders)
    settings = {name: config.pop(name) for name in SETTINGS if name not in QUANTITIES}
    content = config.pop("grid")
    runner = config.pop("runner")
    quiet = _flag("quiet", settings["quiet"])
    if not isinstance(content, Mapping):
        raise BadInput(f"grid/{grid}: must be a mapping of axes")
    pinned = {key: config[key] for key, _ in parsed if key in config} | chosen
    if settings["draws"] is not None:
        pinned["draws"] = settings["draws"]
    defaults = {str(key): value for key, value in config.items() if value is not None and key not in pinned}
    composition = Composition(
        grid=grid,
        question=known[grid],
        content=content,
        pinned=pinned,
        defaults=defaults,
        machines=entries["machine"],
        workloads=entries["workload"],
        costs=Stored(folders),
        chunk_s=_positive("chunk_s", settings["chunk_s"]),
        policy_path=settings["policy_path"],
        points=settings["points"],
    )
    return Request(
        composition,
        runner=_runner(runner),
        overrides=tuple(overrides),
        out=settings["out"],
        max_points=_positive("max_points", settings["max_points"]),
        max_cpu_hours=_positive("max_cpu_hours", settings["max_cpu_hours"]),
        reuse=settings["reuse"],
        max_failures=_count("max_failures", settings["max_failures"]),
        retry_failed=bool(settings["retry_failed"]),
        commit=None if settings["commit"] is None else str(settings["commit"]),
        quiet=quiet,
        report=not quiet if settings["report"] is None else _flag("report", settings["report"]),
        dry_run=_flag("dry_run", settings["dry_run"]),
    )


def _parse(overrides: Sequence[str], grids: Mapping[str, str], folders: Sequence[Path]) -> list[tuple[str, Any]]:
    """Key and value of every override; what Hydra would answer unhelpfully is answered here."""
    out: list[tuple[str, Any]] = []
    for text in overrides:
        try:
            override = OverridesParser.create().parse_override(text)
            if override.is_sweep_override():
                wanted = text.replace("=", "=[", 1) + "]"
                raise BadInput(f"{text!r}: sweeps are grids here; give a list, like `{wanted}`")
            value = override.value()
        except HydraException as error:
            raise BadInput(f"{text!r}: must be KEY=VALUE: {_one_line(error)}") from None
        key = override.key_or_group
        if key == "grid":
            if not override.is_add():
                raise BadInput(f"{text!r}: a grid is added, not overridden: write `+grid={value}`")
            if value not in grids:
                raise BadInput(f"grid {value!r}: no such grid{did_you_mean(str(value), grids)}\n{listing(folders)}")
        elif key.split(".")[0] not in (*QUANTITIES, *SETTINGS, *NAMES, "runner", "grid"):
            names = [*QUANTITIES, *SETTINGS, *NAMES, "runner"]
            raise BadInput(f"{text!r}: unknown key {key!r}{did_you_mean(key, names)}")
        out.append((key, value))
    return out


class Catalog(Mapping[str, Entry]):
    """The machines, or the workloads, by name; each is composed from its files when first used."""

    def __init__(self, group: str, folders: Sequence[Path]) -> None:
        self._group, self._folders = group, folders
        self._names = sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})
        self._entries: dict[str, Entry] = {}

    def __getitem__(self, name: str) -> Entry:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._entries:
            self._entries[name] = self._read(name)
        return self._entries[name]

    def _read(self, name: str) -> Entry:
        where = f"{self._group}/{name}"
        try:
            entry = read_entry(name, _compose_file(where, [], self._folders)[self._group], where)
            path = next(folder / f"{where}.yaml" for folder in self._folders if (folder / f"{where}.yaml").is_file())
            own: Any = OmegaConf.load(path)
        except (HydraException, OmegaConfBaseException) as error:
            raise BadInput(f"{where}: {_one_line(error)}") from None
        parent = next((str(each) for each in own.get("defaults", ()) if each != "_self_"), None)
        return entry if parent is None else inherit(entry, {str(key) for key in own}, self[parent])

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def catalog(folders: Sequence[Path]) -> dict[str, Catalog]:
    """Every machine and workload there is, by group and name."""
    return {group: Catalog(group, folders) for group in ("machine", "workload")}


def _compose_file(name: str, overrides: Sequence[str], folders: Sequence[Path]) -> dict[str, Any]:
    """A config file with what it builds on, from all folders; Hydra finds a primary config in one folder only."""
    home = next(folder for folder in folders if (folder / f"{name}.yaml").is_file())
    others = ",".join(f"file://{folder}" for folder in folders if folder != home)
    search = [f"hydra.searchpath=[{others}]"] if others else []
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(home)):
        content = OmegaConf.to_container(hydra.compose(name, [*overrides, *search]), resolve=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def configuration(overrides: Sequence[str], folders: Sequence[Path]) -> str:
    """The composed configuration as YAML, as Hydra's `--cfg job` prints it."""
    asked = compose(overrides, folders)
    composition = asked.composition
    settings = {name: value for name, value in composition.defaults.items() if name not in composition.content}
    runner = {name: getattr(asked.runner, name) for name in Runner.__dataclass_fields__}
    content = {**settings, "grid": {**composition.content, **composition.pinned}, "runner": runner}
    return yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=100, allow_unicode=True)


def composed_grid(name: str, folders: Sequence[Path]) -> str:
    """The content of a grid as YAML."""
    content = compose([f"+grid={name}"], folders).composition.content
    return yaml.safe_dump(dict(content), sort_keys=False, default_flow_style=None, width=100, allow_unicode=True)


def _runner(content: Any) -> Runner:
    unknown = sorted(set(content) - set(Runner.__dataclass_fields__))
    if unknown:
        raise BadInput(f"runner: unknown key {unknown[0]!r}{did_you_mean(unknown[0], Runner.__dataclass_fields__)}")
    return Runner(**content)


def _count(name: str, value: Any) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise BadInput(f"{name}={value!r}: must be a whole number, at least 0, or null")
    return value


def _positive(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise BadInput(f"{name}={value!r}: must be a number above 0")
    return float(value)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadInput(f"{name}={value!r}: must be true or false")
    return value


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
