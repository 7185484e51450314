"""How likely a measured system time is under a simulated one, and what a measurement of it would show.

measured = (base + added * exp(d)) * exp(e), with d ~ N(0, discrepancy) an error of the model for this policy and
machine, and e ~ N(0, run_spread) from run to run. The numbers are `conf/likelihood.yaml`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from pydantic import Field

from sweep.inputs.conf import conf_dir
from sweep.inputs.door import Checked, admit
from sweep.inputs.reader import read_yaml

NODES = 31  # of the quadrature over run-to-run spread
NOISE = 32  # measurements imagined for each draw
LOG_2PI = float(np.log(2.0 * np.pi))


@dataclass(frozen=True)
class Spread:
    """Standard deviations, of logarithms."""

    run: float
    discrepancy_up_to: float
    cores: float

    def discrepancy(self, cores: float) -> float:
        """Of the model's error at so many CPUs: wider beyond the largest machine measured."""
        return self.discrepancy_up_to * (1.0 + max(0.0, float(np.log2(cores / self.cores))))


class Known(Checked):
    """A number with its unit and source."""

    central: float = Field(gt=0, le=1e6)
    unit: str
    source: str


class Likelihood(Checked):
    """`conf/likelihood.yaml`."""

    run_spread: Known
    discrepancy: Known
    discrepancy_cores: Known


@lru_cache(maxsize=1)
def spread() -> Spread:
    """What `conf/likelihood.yaml` says."""
    file = admit(Likelihood, read_yaml(conf_dir() / "likelihood.yaml", "likelihood.yaml"))
    return Spread(file.run_spread.central, file.discrepancy.central, file.discrepancy_cores.central)


def log_likelihood(measured_s: float, base_s: float, added_s: np.ndarray, cores: float) -> np.ndarray:
    """Of one measured system time, [...] like `added_s`; both errors integrated out."""
    nodes, weights = hermegauss(NODES)
    without_run = measured_s * np.exp(-spread().run * nodes)  # [node]
    possible = without_run > base_s
    without_run, weights = without_run[possible], weights[possible] / np.sqrt(2.0 * np.pi)
    sd = spread().discrepancy(cores)
    score = (np.log(without_run - base_s) - np.log(added_s)[..., None]) / sd  # [..., node]
    log_terms = np.log(weights) + np.log(without_run / (without_run - base_s)) - 0.5 * (score**2 + LOG_2PI) - np.log(sd)
    most = log_terms.max(axis=-1, keepdims=True)
    return np.log(np.exp(log_terms - most).sum(axis=-1)) + most[..., 0]


def measured_again(base_s: float, added_s: np.ndarray, cores: float) -> np.ndarray:
    """System times that measurements of these draws would show, [draw, NOISE]; the same noise at any call."""
    from scipy.special import ndtri
    from scipy.stats import qmc

    points = NOISE * len(added_s)
    sequence = qmc.Sobol(2, scramble=True, rng=np.random.default_rng(0)).random_base2(int(points - 1).bit_length())
    scores = ndtri(np.clip(sequence[:points], 1e-12, 1 - 1e-12)).T.reshape(2, len(added_s), NOISE)
    return _measured(base_s, added_s[:, None], cores, scores)


def measured_once(base_s: float, added_s: np.ndarray, cores: float, random: np.random.Generator) -> np.ndarray:
    """One measured system time of each draw, [draw]."""
    return _measured(base_s, added_s, cores, random.standard_normal((2, len(added_s))))


def _measured(base_s: float, added_s: np.ndarray, cores: float, scores: np.ndarray) -> np.ndarray:
    model, run = scores
    return (base_s + added_s * np.exp(spread().discrepancy(cores) * model)) * np.exp(spread().run * run)
