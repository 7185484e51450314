"""A sweep without its grid: its keys, the content of `config.yaml`, and the files behind names.

The command line and calls from notebooks both use this module, so they have the same keys.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sim.policies import NoSuchPolicy, Policies
from sim.reading import reads
from sweep.errors import BadInput, did_you_mean
from sweep.inputs import settings
from sweep.inputs.catalog import QUANTITIES, Entry, catalog, check_quantity
from sweep.inputs.conf import conf_dir, meant
from sweep.inputs.costs import LITERATURE, Costs, stored
from sweep.inputs.door import admit, shorten
from sweep.inputs.measured import Measured, read_measured
from sweep.inputs.reader import read_yaml
from sweep.plan.own_policies import try_policy
from sweep.plan.plan import CHUNK_S
from sweep.plan.points import NAMES

MOST_POINTS = 10**15  # that can be indexed; `max_points` limits those simulated

OF_POINTS = (*QUANTITIES, *NAMES, "draws")  # keys of the simulated points
KEYS = (*QUANTITIES, "draws", *settings.NAMES, *NAMES, "runner")


@dataclass(frozen=True)
class Composition:
    """A composed grid and the files behind its names, not checked yet."""

    grid: str
    question: str
    content: Mapping[str, Any]  # of the grid's file
    pinned: Mapping[str, Any]  # keys of the command line, which replace axes
    defaults: Mapping[str, Any]
    machines: Mapping[str, Entry]
    workloads: Mapping[str, Entry]
    costs: Mapping[str, Costs] = field(default_factory=dict)  # stored ones by name
    measured: Measured = field(default_factory=Measured)  # measurements, for grids that predict them
    engine: str = "auto"
    chunk_s: float = CHUNK_S
    policy_path: str | None = None
    points: str | None = None  # BEGIN:END cuts the plan
    max_points: float = MOST_POINTS
    again: bool = False  # other plans of the same process follow

    @cached_property
    def policies(self) -> Policies:
        """Every policy by name; BadInput if the folder of the user's own does not exist."""
        if self.policy_path is not None and not os.path.isdir(self.policy_path):
            raise BadInput(f"policy_path={self.policy_path!r}: no such folder")
        return Policies(None if self.policy_path is None else Path(self.policy_path).resolve())

    @property
    def answer(self) -> str | None:
        """The name of the grid's answer, which is one of the tables."""
        answer = self.content.get("answer")
        return None if answer is None else str(answer)

    def check(self, key: str, value: Any, where: str) -> Any:
        """The checked value of a key; BadInput with key, value and allowed values."""
        if key == "policy":
            return self._check_policy(meant(str(value), self.policies), where)
        groups = {"machine": self.machines, "workload": self.workloads, "costs": [LITERATURE, *self.costs]}
        if key in groups:
            name = meant(str(value), groups[key])
            if name not in groups[key]:
                raise BadInput(f"{where}: {key}={value!r}: no such {key}{did_you_mean(name, groups[key])}")
            return name
        if key not in QUANTITIES:
            raise BadInput(f"{where}: unknown key {key!r}{did_you_mean(key, [*NAMES, *QUANTITIES])}")
        return check_quantity(key, value, where)

    def _check_policy(self, name: str, where: str) -> str:
        """The name of a policy with a valid file."""
        policies = self.policies  # a missing folder is not an error of the file
        if self.policy_path is not None:
            try_policy(str(Path(self.policy_path).resolve()), name, where)
        try:
            reads(policies[name])
        except NoSuchPolicy as error:
            raise BadInput(f"{where}: {error}{did_you_mean(name, policies)}") from None
        except Exception as error:
            raise BadInput(
                f"{where}: policy={name!r}: its file does not work: {type(error).__name__}: {error}"
            ) from None
        return name


def read_config(folders: Sequence[Path]) -> dict[str, Any]:
    """The content of `config.yaml`: the user's own file, if there is one, else ours."""
    path = next(folder / "config.yaml" for folder in folders if (folder / "config.yaml").is_file())
    document = read_yaml(path, "config")
    content = document.content
    if not isinstance(content, Mapping):
        raise BadInput(f"config: {shorten(content)}: must be a mapping of settings")
    for key in content:
        if key not in KEYS:
            raise BadInput(f"{document.place((key,))}: unknown key {key!r}{did_you_mean(str(key), KEYS)}")
        if key in settings.PLACES and content[key] is not None and path.parent != conf_dir():
            raise BadInput(f"{document.place((key,))}: {key}={shorten(content[key])}: allowed only on the command line")
    return dict(content)


def composition(
    grid: str,
    question: str,
    content: Mapping[str, Any],
    given: Mapping[str, Any],
    base: Mapping[str, Any],
    folders: Sequence[Path],
) -> tuple[Composition, settings.Settings]:
    """A grid's `content` with the `given` keys over the defaults of `base`; and the settings of the run."""
    pinned = {key: value for key, value in given.items() if key in OF_POINTS}
    named = {key: value for key, value in given.items() if key in settings.NAMES}
    asked = admit(settings.Settings, {**{key: base[key] for key in settings.NAMES if key in base}, **named})
    entries = catalog(folders)
    composed = Composition(
        grid=grid,
        question=question,
        content=content,
        pinned=pinned,
        defaults={key: value for key, value in base.items() if key in OF_POINTS and value is not None},
        machines=entries["machine"],
        workloads=entries["workload"],
        costs=stored(folders),
        measured=read_measured(folders),
        engine=asked.engine,
        chunk_s=asked.chunk_s,
        policy_path=asked.policy_path,
        points=asked.points,
        max_points=asked.max_points,
    )
    return composed, asked
