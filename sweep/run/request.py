"""The user's request."""

from dataclasses import dataclass

from sweep.inputs.settings import Runner, Settings
from sweep.messages import say
from sweep.plan.composition import Composition


@dataclass(frozen=True)
class Request:
    """The user's request, with a checked command line."""

    composition: Composition
    settings: Settings
    runner: Runner
    overrides: tuple[str, ...] = ()
    command: str = ""  # to be typed again; empty without a command line
    config_dir: str | None = None  # the user's own folder of configuration files

    def say(self, text: str) -> None:
        """A line on stderr, unless the user wants none."""
        if not self.settings.quiet:
            say(text)
