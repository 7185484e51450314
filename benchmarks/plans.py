"""Plans of several benchmarks."""

from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from sim import PARAMETERS
from sweep.inputs.catalog import catalog
from sweep.inputs.conf import conf_dir
from sweep.plan.composition import Composition
from sweep.plan.open import open_plan
from sweep.plan.plan import Plan


def of(content: dict[str, Any], chunk_s: float = 10.0, **defaults: Any) -> Plan:
    """A plan under literature's central costs."""
    sources = {f"{group}s": names for group, names in catalog([conf_dir()]).items()}
    known = {"machine": "i5_3550", "workload": "kernel_build", "policy": "xpfo_deferred", "seed": 0, "replicas": 1}
    known |= {"precision": 0.01, "window_events": 8192} | defaults
    return open_plan(Composition("benchmark", "", content, {}, known, **sources, chunk_s=chunk_s))


def large(chunk_s: float = 10.0, **changes: Any) -> Plan:
    """`+grid=large`."""
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        content = OmegaConf.to_container(compose(overrides=["+grid=large"]).grid, resolve=True)
    assert isinstance(content, dict)
    return of({str(key): value for key, value in content.items()} | changes, chunk_s)


def wide(points: int, **defaults: Any) -> Plan:
    """A plan of this many points: 100 ceilings for each value of a range of refills."""
    refills = {"from": 0, "to": points, "steps": points // 100}
    return of({"jobs": 4, "ceiling": list(range(100)), "refill_ns": refills}, **defaults)


def parameters(plan: Plan, point: int) -> dict[str, Any]:
    """The parameters of a point for `sim.simulate`, each a list of one value."""
    columns = plan.columns(point, point + 1)
    return {name: column.tolist() for name, column in columns.items() if name in PARAMETERS or name == "policy"}
