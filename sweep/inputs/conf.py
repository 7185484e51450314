"""The folders and files of the configuration, and the grids' questions."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar
from unicodedata import normalize

from sweep.inputs.reader import names_in, question_of

Content = TypeVar("Content")


class Files(Mapping[str, Content]):
    """The contents of a group's files by name, each read on first use; files of folders given first win."""

    def __init__(self, group: str, folders: Sequence[Path], read: Callable[[str, Path], Content]) -> None:
        self.paths, self._read = paths_of(group, folders), read
        self._contents: dict[str, Content] = {}

    def __getitem__(self, name: str) -> Content:
        if name not in self._contents:
            self._contents[name] = self._read(name, self.paths[name])
        return self._contents[name]

    def __contains__(self, name: object) -> bool:
        return name in self.paths

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)


def conf_dir() -> Path:
    """The package's configuration: inside it when installed, beside it in a checkout."""
    here = Path(__file__).resolve().parent.parent
    return here / "conf" if (here / "conf").is_dir() else here.parent / "conf"


def paths_of(group: str, folders: Sequence[Path]) -> dict[str, Path]:
    """The files of a group, like `machine`, by name; folders given first win."""
    paths: dict[str, Path] = {}
    for folder in reversed(folders):
        paths |= names_in(folder / group)
    return dict(sorted(paths.items()))


def meant(name: str, known: Collection[str]) -> str:
    """The known name of the same letters in any Unicode form; without one, the name as typed."""
    if name in known or name.isascii():
        return name
    return next((each for each in known if normalize("NFKC", each) == normalize("NFKC", name)), name)


def questions(folders: Sequence[Path]) -> dict[str, str]:
    """Grids by name with the question in their first comment."""
    return {name: question_of(path) for name, path in paths_of("grid", folders).items()}


def hidden_files(folders: Sequence[Path]) -> list[str]:
    """Files of the user's own folder that replace ours of the same name, as GROUP/NAME."""
    hidden = []
    for group in ("grid", "machine", "workload", "costs", "runner", "measure", "validation"):
        ours = names_in(conf_dir() / group)
        own = {name for folder in folders if folder != conf_dir() for name in names_in(folder / group)}
        hidden += [f"{group}/{name}" for name in sorted(own & set(ours))]
    return hidden


def listing(folders: Sequence[Path]) -> str:
    """The grids with their questions, a line each."""
    asked = questions(folders)
    width = max(map(len, asked), default=0)
    lines = [f"  +grid={name:<{width}} {question}" for name, question in asked.items()]
    return "grids:\n" + "\n".join(lines)
