"""A sweep without its grid: its keys, the content of `config.yaml`, and the files behind names.

The command line and calls from notebooks both use this module, so they have the same keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweep.errors import BadInput, did_you_mean
from sweep.inputs import settings
from sweep.inputs.catalog import QUANTITIES, catalog
from sweep.inputs.conf import conf_dir
from sweep.inputs.costs import Stored
from sweep.inputs.door import admit, shorten
from sweep.inputs.measured import read_measured
from sweep.inputs.reader import read_yaml
from sweep.plan.open import Composition
from sweep.plan.points import NAMES

OF_POINTS = (*QUANTITIES, *NAMES, "draws")  # keys of the simulated points
KEYS = (*QUANTITIES, "draws", *settings.NAMES, *NAMES, "runner")


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
        costs=Stored(folders),
        measured=read_measured(folders),
        engine=asked.engine,
        chunk_s=asked.chunk_s,
        policy_path=asked.policy_path,
        points=asked.points,
        max_points=asked.max_points,
    )
    return composed, asked
