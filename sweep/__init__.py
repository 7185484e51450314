"""Sweeps of simulated TLB-flush policies: Hydra describes, Ray carries, Parquet keeps."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas
    import xarray
__version__ = "0.1.0"


def load(out: str | PathLike[str]) -> pandas.DataFrame:
    """The results of a run's folder, a row per point and replica; units by column in `attrs["units"]`."""
    from sweep.tables import frame

    return frame.load(out)


def to_xarray(results: pandas.DataFrame) -> xarray.Dataset:
    """What `load` gave as a Dataset over the axes of a full grid; needs the extra `xarray`."""
    from sweep.tables import frame

    return frame.to_xarray(results)
