"""Sweeps of simulated TLB-flush policies, with Hydra, Ray and Parquet."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas
    import xarray


def simulate(
    *,
    policy: Any = None,
    machine: Any = None,
    workload: Any = None,
    cores: Any = None,
    jobs: Any = None,
    draws: int | None = None,
    config_dir: str | PathLike[str] | None = None,
    **keys: Any,
) -> pandas.DataFrame:
    """Simulate points in this process: a row per point and replica, in the columns of `results.parquet`.

    Keys, values and defaults are those of the command line: any parameter of the model and any control of a grid by its
    name, such as `invlpg_ns=300`, `costs="literature"` or `replicas=8`. Defaults come from `conf/config.yaml` and the
    machine; that of `jobs` is the number of CPUs. A list, an array or a column of pandas is an axis; axes multiply.
    `draws=N` also simulates each point under N cost samples, by `draw`, which is 0 for the representative one.
    `config_dir` is a folder of your own machines and workloads, like `--config-dir`. `engine`, `policy_path`, `points`,
    `max_points` and `max_cpu_hours` are as on the command line.

    Constant columns are included. `attrs["units"]` has the unit of each column, `attrs["plan"]` the plan's hash. The
    same points give the same bits as on the command line.

    Raises ValueError in one line with key, value and allowed values. Warnings tell of failed points and of an
    approximation (`engine="vectorized"` for broadcasts by interrupts).
    """
    from sweep.run import notebook

    named = {"policy": policy, "machine": machine, "workload": workload, "cores": cores, "jobs": jobs, "draws": draws}
    return notebook.simulate({key: value for key, value in named.items() if value is not None} | keys, config_dir)


def load(out: str | PathLike[str]) -> pandas.DataFrame:
    """The results of a run's folder, a row per point and replica; units by column in `attrs["units"]`."""
    from sweep.tables import frame

    return frame.load(out)


def concat(outs: Iterable[str | PathLike[str]]) -> pandas.DataFrame:
    """The results of several runs of one version of the model, with a column `run`; units in `attrs`."""
    from sweep.tables import frame

    return frame.concat(outs)


def to_xarray(results: pandas.DataFrame) -> xarray.Dataset:
    """Results of `load` as a Dataset over the axes of a full grid; needs the extra `xarray`."""
    from sweep.tables import frame

    return frame.to_xarray(results)
