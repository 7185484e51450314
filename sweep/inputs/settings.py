"""Settings of a run besides the model's parameters, each with its type and bounds."""

import os
import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from sweep.errors import BadInput
from sweep.inputs.door import Checked

HEAD = re.compile(r"(\[[0-9a-fA-F:]+\]|[^\s:/]+):\d{1,5}")
Positive = Annotated[float, Field(gt=0)]
PLACES = ("out", "policy_path", "reuse")  # folders that are written, executed or read: not allowed in files
TEXTS = (*PLACES, "points", "commit")  # values taken literally


class Settings(Checked):
    """The part of `conf/config.yaml` about output, limits and messages."""

    out: str | None = None
    policy_path: str | None = None
    max_points: Positive = 10_000_000
    max_cpu_hours: Positive = 24.0
    engine: Literal["auto", "compiled", "vectorized"] = "auto"
    chunk_s: Positive = 10.0
    points: str | None = None
    reuse: str | None = None
    max_failures: Annotated[int, Field(ge=0)] | None = None
    retry_failed: bool = False
    commit: str | None = None
    quiet: bool = False
    report: bool | None = None
    dry_run: bool = False

    @field_validator(*PLACES)
    @classmethod
    def _is_a_place(cls, value: Any) -> Any:
        if value is not None and (not value.strip() or "\0" in value):
            raise ValueError("must name a folder, or be left out")
        return value if value is None else os.path.expanduser(value)


class Runner(Checked):
    """The runner of chunks, from `conf/runner/`."""

    kind: Literal["auto", "serial", "ray"] = "auto"
    serial_below_s: Annotated[float, Field(ge=0)] = 60.0
    address: str | None = None
    cpus: Annotated[int, Field(ge=1)] | None = None
    tasks_per_cpu: Annotated[int, Field(ge=1, le=1000)] = 2
    stall_s: Positive = 900.0
    commit: Literal["driver", "workers"] = "driver"

    @field_validator("address")
    @classmethod
    def _is_a_head(cls, value: str | None) -> str | None:
        if value is not None and (wrong := wrong_address(value)):
            raise ValueError(wrong)
        return value

    def choose(self, estimate_s: float) -> tuple[str, str]:
        """serial or ray, and the reason in words."""
        if self.kind != "auto":
            return self.kind, f"runner={self.kind}"
        if estimate_s < self.serial_below_s:
            return "serial", f"estimated {estimate_s:.0f} CPU seconds: running in this process"
        return "ray", f"estimated {estimate_s:.0f} CPU seconds: running on Ray"

    def where(self) -> str:
        """The address of the cluster, or local; BadInput if RAY_ADDRESS names no head."""
        if self.address:
            return self.address
        address = os.environ.get("RAY_ADDRESS") or "local"
        if wrong := wrong_address(address):
            raise BadInput(f"RAY_ADDRESS={address}: {wrong}")
        return address


def wrong_address(address: str) -> str | None:
    """The mistake in the address of a Ray head, with a remedy; None without a visible one."""
    if address.startswith(("http://", "https://")):
        return f"is Ray's Jobs API; submit with `ray job submit --address {address}`, or give HOST:PORT of the head"
    if address.startswith("ray://"):
        return "is Ray's client, which sweeps do not use; give HOST:PORT of the head, without `ray://`"
    if address not in ("local", "auto") and not HEAD.fullmatch(address):
        return "must be HOST:PORT of a running head, or local"
    return None


NAMES = tuple(Settings.model_fields)
