"""The folder of a run: parts committed once, results made from them, what the run was.

run.json         the plan's hash, configuration, overrides, seed, versions, commit
parts/           part-<chunk>.parquet, a row per point and replica; a part counts only if it verifies
journal.jsonl    when what was computed, where and how long it took; nothing is made from it
results.parquet  all rows, sorted by point and replica; the same bytes for any chunks, workers and crashes
failures.parquet the points that failed, with traceback; only if there are any
tables/          CSV and Parquet, functions of results.parquet
"""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa
from pyarrow import fs

from sweep.errors import BadInput, Stopped


@dataclass(frozen=True)
class Folder:
    """A run's folder on any filesystem that pyarrow opens."""

    filesystem: fs.FileSystem
    path: str

    @property
    def local(self) -> bool:
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def __str__(self) -> str:
        if not self.local:
            return self.path
        relative = os.path.relpath(self.path)
        return self.path if relative.startswith("..") else relative

    def child(self, name: str) -> str:
        return f"{self.path}/{name}"

    def exists(self, name: str) -> bool:
        return bool(self.filesystem.get_file_info(self.child(name)).type != fs.FileType.NotFound)

    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder, sorted; hidden ones left out."""
        selector = fs.FileSelector(self.child(folder), allow_not_found=True)
        files = [info.base_name for info in self.filesystem.get_file_info(selector) if info.is_file]
        return sorted(name for name in files if not name.startswith("."))

    def read(self, name: str) -> bytes:
        with self.filesystem.open_input_stream(self.child(name)) as stream:
            return bytes(stream.read())

    def write(self, name: str, content: bytes | bytearray) -> None:
        """All or nothing: a temp file renamed; where there is no rename, the PUT is the commit."""
        with self.writing(name) as file:
            file.write(content)

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """A file to write in pieces that is there under its name only when whole; Stopped where there is no room."""
        target = self.child(name)
        self.filesystem.create_dir(os.path.dirname(target), recursive=True)
        directory = os.path.dirname(target) if self.local else tempfile.gettempdir()
        temporary = os.path.join(directory, f".{os.path.basename(target)}.{socket.gethostname()}.{os.getpid()}")
        written = 0
        try:
            with open(temporary, "wb") as file:
                yield file
                written = file.tell()
                file.flush()
                os.fsync(file.fileno())
            if self.local:
                os.replace(temporary, target)
            else:
                with open(temporary, "rb") as file, self.filesystem.open_output_stream(target) as stream:
                    while piece := file.read(1 << 23):
                        stream.write(piece)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            size = written or os.path.getsize(temporary)
            raise Stopped(
                1, f"no room in {directory} for {name}: {size} bytes or more are needed ({error.strerror}); nothing of "
                "it was kept"
            ) from None  # fmt: skip
        finally:
            Path(temporary).unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        if self.exists(name):
            self.filesystem.delete_file(self.child(name))


def open_folder(out: str, make: bool = True) -> Folder:
    """The folder of a path or URI, made if it is not there; BadInput where it cannot be written."""
    try:
        if "://" in out:
            filesystem, path = fs.FileSystem.from_uri(out)
        else:
            filesystem, path = fs.LocalFileSystem(), os.path.abspath(out)
        if make:
            filesystem.create_dir(path, recursive=True)
    except (OSError, pa.ArrowException) as error:
        raise BadInput(f"out={out!r}: cannot be opened for writing: {error}") from None
    folder = Folder(filesystem, path.rstrip("/"))
    if not make:
        return folder
    if folder.local and not os.access(folder.path, os.W_OK | os.X_OK):
        raise BadInput(f"out={out!r}: is not writable")
    return folder


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
