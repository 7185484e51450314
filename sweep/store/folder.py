"""The folder of a run: parts committed once, the results made from them, and a description of the run.

run.json         the plan's hash, configuration, overrides, seed, versions, commit
parts/           part-<chunk>.parquet, a row per point and replica; a part counts only if it verifies
journal.jsonl    time, place and duration of each chunk; no result depends on it
results.parquet  all rows, sorted by point and replica; the same bytes for any chunks, workers and crashes
results.sha256   its digest for `sha256sum -c`; results.parquet is valid only if it matches
failures.parquet the points that failed, with traceback; only if there are any
tables/          CSV and Parquet, functions of results.parquet
"""

import errno
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path
from unicodedata import normalize

import psutil
import pyarrow as pa
from pyarrow import fs

from sweep.errors import BadInput, Stopped
from sweep.messages import without_credentials

ANSWER_S = 20.0  # for an object store to answer
OLD_S = 86_400.0  # an older temp file of another host has no owner
FILE_MODE, FOLDER_MODE = 0o664, 0o775  # less the umask: never writable for the world
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Folder:
    """A run's folder on any filesystem of pyarrow."""

    filesystem: fs.FileSystem
    path: str

    @property
    def local(self) -> bool:
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def __str__(self) -> str:
        if not self.local:
            return self.path
        try:
            relative = os.path.relpath(self.path)
        except OSError:  # the working folder is gone
            return self.path
        return self.path if relative.startswith("..") else relative

    def child(self, name: str) -> str:
        return f"{self.path}/{name}"

    def exists(self, name: str) -> bool:
        return self._kind(name) != fs.FileType.NotFound

    def is_file(self, name: str) -> bool:
        return self._kind(name) == fs.FileType.File

    def _kind(self, name: str) -> fs.FileType:
        with self._readable(name):
            return self.filesystem.get_file_info(self.child(name)).type

    def names(self, folder: str) -> list[str]:
        """Sorted names of the files in a folder, without hidden ones."""
        with self._readable(folder):
            selector = fs.FileSelector(self.child(folder), allow_not_found=True)
            files = [info.base_name for info in self.filesystem.get_file_info(selector) if info.is_file]
        return sorted(name for name in files if not name.startswith("."))

    def read(self, name: str) -> bytes:
        with self._readable(name), self.filesystem.open_input_stream(self.child(name)) as stream:
            return bytes(stream.read())

    @contextmanager
    def _readable(self, name: str) -> Iterator[None]:
        """BadInput if an existing file cannot be read; FileNotFoundError if there is none."""
        try:
            yield
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowException) as error:
            raise BadInput(f"{self.child(name)}: cannot be read: {reason(error)}") from None

    def write(self, name: str, content: bytes | bytearray) -> None:
        """All or nothing: a temp file is renamed; without rename, the PUT is the commit."""
        with self.writing(name) as file:
            file.write(content)

    @contextmanager
    def writing(self, name: str) -> Iterator[BufferedRandom]:
        """A file to write in pieces, which gets its name only when complete; Stopped if it cannot be written."""
        target = self.child(name)
        directory = os.path.dirname(target) if self.local else tempfile.gettempdir()
        temporary = os.path.join(directory, temporary_name(os.path.basename(target)))
        written = 0
        try:
            self.make_folder(os.path.dirname(target))
            with open(temporary, "w+b", opener=private) as file:
                try:
                    yield file
                finally:
                    written = file.tell()
                file.flush()
                os.fsync(file.fileno())
            if self.local:
                os.replace(temporary, target)
            else:
                with open(temporary, "rb") as file, self.filesystem.open_output_stream(target) as stream:
                    shutil.copyfileobj(file, stream, 1 << 23)
        except (OSError, pa.ArrowException) as error:
            if not isinstance(error, OSError) or error.errno not in NO_ROOM:
                raise Stopped(1, f"{target}: cannot be written: {reason(error)}") from None
            needed = f": {written} bytes or more are needed" if written else ""
            raise Stopped(
                1, f"no room in {directory} for {name}{needed} ({error.strerror}); no part of it was kept", no_room=True
            ) from None
        finally:
            with suppress(OSError):
                os.unlink(temporary)

    def make_folder(self, path: str) -> None:
        """Create a folder and its parents."""
        if self.local:
            for each in (*reversed(Path(path).parents), Path(path)):  # os.makedirs gives parents the umask's mode alone
                each.mkdir(FOLDER_MODE, exist_ok=True)
        else:
            self.filesystem.create_dir(path, recursive=True)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        try:
            self.filesystem.delete_file(self.child(name))
        except FileNotFoundError:
            pass
        except (OSError, pa.ArrowException) as error:
            raise Stopped(1, f"{self.child(name)}: cannot be removed: {reason(error)}") from None

    def remove_temporaries(self, *folders: str) -> None:
        """Remove temp files of killed writers; those of running processes of this host stay."""
        if not self.local:
            return
        ours = re.compile(r"\..+\..+\.([0-9]{1,9})|\.probe-[0-9a-f]{32}")
        for folder in folders:
            with suppress(OSError):
                for entry in os.scandir(os.path.join(self.path, folder)):
                    if not (found := ours.fullmatch(entry.name)):
                        continue
                    if entry.name.endswith(f".{socket.gethostname()}.{found[1]}"):
                        stale = not has_process(int(found[1]))
                    else:
                        stale = time.time() - entry.stat().st_mtime > OLD_S
                    if stale and entry.is_file(follow_symlinks=False):
                        os.unlink(entry.path)


def temporary_name(name: str) -> str:
    """A hidden name with the identity of its writer."""
    return f".{name}.{socket.gethostname()}.{os.getpid()}"


def has_process(pid: int) -> bool:
    """Whether a running process has this pid."""
    try:
        return lives(psutil.Process(pid))
    except psutil.Error:
        return False


def lives(process: psutil.Process) -> bool:
    """Whether a process still runs; one that has ended, and that nobody has waited for, does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def private(path: str, flags: int) -> int:
    """open(2) with the mode of all our files."""
    return os.open(path, flags, FILE_MODE)


def reason(error: Exception) -> str:
    """An error of a file or a store in one line, without keys and secrets."""
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.errno and error.strerror:
        text = error.strerror.rpartition("] ")[2] + (f": {error.filename}" if error.filename else "")
    return without_credentials(text)


def open_folder(out: str) -> Folder:
    """The folder of a path or URI, created if needed; BadInput if it cannot be written."""
    folder = look(out)
    shown = without_credentials(out)
    try:
        folder.make_folder(folder.path)
    except (OSError, pa.ArrowException) as error:
        raise BadInput(f"out={shown!r}: cannot be opened for writing: {reason(error)}") from None
    if folder.local and not os.access(folder.path, os.W_OK | os.X_OK):
        raise BadInput(f"out={shown!r}: is not writable")
    return folder


def look(out: str) -> Folder:
    """The folder of a path or URI, whether it exists or not; BadInput if a store does not answer."""
    shown = without_credentials(out)
    if slip := re.match(r"(s3|gs|gcs|abfss?|hdfs|viewfs|file):(?!//)/?", out):
        remedy = without_credentials(f"{slip[1]}://{'/' * (slip[1] == 'file')}{out[slip.end() :]}")
        raise BadInput(f"{shown!r}: a URI must have two slashes: {remedy}; for a folder of that name write ./{shown}")
    try:
        if "://" in out:
            if not out.startswith("file:"):
                _check_store(out)
            filesystem, path = fs.FileSystem.from_uri(out)
        else:
            filesystem, path = fs.LocalFileSystem(), _as_it_is_there(os.path.abspath(out))
            path.encode()  # raises for a name that the filesystem does not allow
    except (OSError, pa.ArrowException, ValueError) as error:
        raise BadInput(f"{shown!r}: cannot be opened: {reason(error)}") from None
    return Folder(filesystem, path.rstrip("/"))


def _as_it_is_there(path: str) -> str:
    """A path with each name in the Unicode form of an existing file, if only that form exists."""
    if path.isascii() or os.path.lexists(path):
        return path
    above, name = os.path.split(path)
    above = _as_it_is_there(above)
    try:
        there = [each for each in os.listdir(above) if normalize("NFC", each) == normalize("NFC", name)]
    except OSError:
        there = []
    return os.path.join(above, *(there[:1] or [name]))


ASK = """import sys
from pyarrow import fs
filesystem, path = fs.FileSystem.from_uri(sys.stdin.read())
filesystem.get_file_info(path)
"""


def _check_store(uri: str) -> None:
    """BadInput if a store does not answer in time."""
    shown = without_credentials(uri)
    try:
        wrong = ask(ASK, uri, ANSWER_S)
    except subprocess.TimeoutExpired:
        raise BadInput(
            f"{shown!r}: does not answer within {ANSWER_S:.0f} s: check the name, the network and the credentials"
        ) from None
    if wrong:
        raise BadInput(f"{shown!r}: cannot be opened: {without_credentials(wrong)}")


def ask(script: str, text: str, timeout_s: float) -> str:
    """The last line of the error of a script that reads this text; empty without one, TimeoutExpired without an end.

    It runs in a separate process, which can be killed: a call into the library of a store or of Ray cannot.
    """
    command = [sys.executable, "-P", "-c", script]
    asked = subprocess.run(command, input=text, capture_output=True, text=True, timeout=timeout_s)
    return (asked.stderr.strip().splitlines() or ["no reason given"])[-1] if asked.returncode else ""


def open_run(out: str) -> Folder:
    """The folder of a finished run; BadInput if there is none."""
    folder = look(out)
    for name in ("run.json", "results.parquet"):
        if not folder.is_file(name):
            raise BadInput(f"{without_credentials(out)}: must be the folder of a finished run: it has no {name}")
    return folder
