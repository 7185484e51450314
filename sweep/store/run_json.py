"""A checked run.json, written by this or another version of the program."""

import json
from typing import Annotated, Any

from pydantic import Field

from sweep.errors import BadInput
from sweep.inputs.door import Written, admit
from sweep.store.folder import Folder

NAME = "run.json"
Names = Annotated[list[str], Field(default_factory=list)]


class Points(Written):
    """The fields of a run's points that are read."""

    seed: Annotated[int, Field(strict=True)]
    replicas: Annotated[int, Field(ge=1, strict=True)]
    draws: Annotated[int, Field(strict=True)] = 0
    machines: Names
    workloads: Names
    costs: Names
    measured_costs: Names
    blocks: Annotated[list[dict[str, Any]], Field(default_factory=list)]
    defaults: Annotated[dict[str, Any], Field(default_factory=dict)]


class RunJson(Written):
    """The fields of run.json that are read."""

    plan: str
    points: Points
    chunk_bounds: Annotated[int, Field(ge=0, strict=True)]
    chunk_s: Annotated[float, Field(gt=0)]
    code: str
    grid: str = ""
    question: str = ""
    total_points: Annotated[int, Field(ge=1, strict=True)] | None = None  # absent in older versions
    overrides: Names
    command: str = ""
    versions: Annotated[dict[str, str], Field(default_factory=dict)]
    commit: str | None = None


def read_run(folder: Folder) -> dict[str, Any]:
    """The checked content of run.json; BadInput if there is none, or it is not ours."""
    where = f"{folder}/{NAME}"
    if not folder.exists(NAME):
        raise BadInput(f"{folder}: must be the folder of a run: it has no {NAME}")
    try:
        content = json.loads(folder.read(NAME))
    except (ValueError, RecursionError):
        raise BadInput(f"{where}: is not JSON") from None
    return {**admit(RunJson, content, where).model_dump(), **content}
