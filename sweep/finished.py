"""Opening the folder of a run to read it; nothing is made or changed."""

from __future__ import annotations

import os

import pyarrow as pa
from pyarrow import fs

from sweep.catalog import BadInput
from sweep.store import Folder


def look(out: str) -> Folder:
    """The folder of a path or URI, whether it is there or not."""
    try:
        filesystem, path = fs.FileSystem.from_uri(out) if "://" in out else (fs.LocalFileSystem(), os.path.abspath(out))
    except (OSError, pa.ArrowException) as error:
        raise BadInput(f"{out}: cannot be opened: {error}") from None
    return Folder(filesystem, path.rstrip("/"))


def open_run(out: str) -> Folder:
    """The folder of a finished run; BadInput where there is none."""
    folder = look(out)
    for name in ("run.json", "results.parquet"):
        if not folder.exists(name):
            raise BadInput(f"{out}: holds no {name}: the folder of a finished run is needed")
    return folder
