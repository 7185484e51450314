"""The likelihood of a measured value under a simulated one, and predicted measurements.

measured = (base + added * exp(d)) * exp(e), with d ~ N(0, discrepancy) an error of the model for this policy and
machine, and e ~ N(0, run_spread) from run to run. `base` is the value without flush events: the system time of
vanilla, or 0 for a flush event's own length. The numbers are in `conf/likelihood.yaml`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.polynomial.hermite_e import hermegauss
from pydantic import Field

from sweep.inputs.conf import conf_dir
from sweep.inputs.door import Checked, admit
from sweep.inputs.reader import read_yaml

NODES = 31  # of the quadrature over run-to-run spread
NOISE = 32  # predicted measurements for each draw
DISCREPANCIES = np.geomspace(0.01, 3.0, 229)  # 2.5 % apart; the most likely one is the estimate
LOG_2PI = float(np.log(2.0 * np.pi))


@dataclass(frozen=True)
class Spread:
    """Standard deviations, of logarithms."""

    run: float
    discrepancy_up_to: float
    cores: float
    elsewhere: float  # the model's error on a machine that was not fitted

    def discrepancy(self, cores: float, fitted: bool = True) -> float:
        """Standard deviation of the model's error at this number of CPUs, on a fitted machine or another one."""
        return (self.discrepancy_up_to if fitted else self.elsewhere) * self.wider(cores)

    def wider(self, cores: float) -> float:
        """The factor of the model's error beyond the largest measured machine."""
        return 1.0 + max(0.0, float(np.log2(cores / self.cores)))


def is_beyond(cores: pd.Series) -> pd.Series:
    """Whether the CPUs are more than those of any measured build; False if they are not known."""
    return cores > spread().cores


class Known(Checked):
    """A number with its unit and source."""

    central: float = Field(gt=0, le=1e6)
    unit: str
    source: str


class Likelihood(Checked):
    """`conf/likelihood.yaml`, in the order of `Spread`."""

    run_spread: Known
    discrepancy: Known
    discrepancy_cores: Known
    discrepancy_elsewhere: Known


@lru_cache(maxsize=1)
def spread() -> Spread:
    """The numbers of `conf/likelihood.yaml`."""
    file = admit(Likelihood, read_yaml(conf_dir() / "likelihood.yaml", "likelihood.yaml"))
    return Spread(*(known.central for _, known in file))


def log_likelihood(measured: float, base: float, added: np.ndarray, cores: float) -> np.ndarray:
    """Log likelihood of one measured value, [...] like `added`, in its unit; both errors are integrated out."""
    nodes, weights = hermegauss(NODES)
    without_run = measured * np.exp(-spread().run * nodes)  # [node]
    possible = without_run > base
    without_run, weights = without_run[possible], weights[possible] / np.sqrt(2.0 * np.pi)
    sd = spread().discrepancy(cores)
    score = (np.log(without_run - base) - np.log(added)[..., None]) / sd  # [..., node]
    log_terms = np.log(weights) + np.log(without_run / (without_run - base)) - 0.5 * (score**2 + LOG_2PI) - np.log(sd)
    most = log_terms.max(axis=-1, keepdims=True)
    return np.log(np.exp(log_terms - most).sum(axis=-1)) + most[..., 0]


def measured_again(base: float, added: np.ndarray, cores: float) -> np.ndarray:
    """Predicted measurements for these draws, [draw, NOISE]; every call has the same noise."""
    return shown_again(base, added, spread().discrepancy(cores))


def shown_again(base: float | np.ndarray, added: np.ndarray, discrepancy: float) -> np.ndarray:
    """Predicted measurements for these draws, [draw, NOISE], with this error of the model in the added part.

    `base` is the value without flush events, for all draws or for each, [draw], in the unit of `added`.
    """
    from scipy.special import ndtri
    from scipy.stats import qmc

    points = NOISE * len(added)
    sequence = qmc.Sobol(2, scramble=True, rng=np.random.default_rng(0)).random_base2(int(points - 1).bit_length())
    scores = ndtri(np.clip(sequence[:points], 1e-12, 1 - 1e-12)).T.reshape(2, len(added), NOISE)
    return _measured(np.reshape(base, (-1, 1)), added[:, None], discrepancy, scores)


def measured_once(base: float, added: np.ndarray, cores: float, random: np.random.Generator) -> np.ndarray:
    """One measured value of each draw, [draw]."""
    return _measured(base, added, spread().discrepancy(cores), random.standard_normal((2, len(added))))


def _measured(base: float | np.ndarray, added: np.ndarray, discrepancy: float, scores: np.ndarray) -> np.ndarray:
    model, run = scores
    return (base + added * np.exp(discrepancy * model)) * np.exp(spread().run * run)


def estimate_discrepancy(groups: Sequence[tuple[np.ndarray, float]]) -> float:
    """The most likely standard deviation of the model's error under measurements that were not fitted.

    Each group is one policy on one machine: the mean logarithm of the added part, measured over simulated, [draw], and
    its standard deviation by run-to-run spread. The draws are equally likely, so the uncertainty of costs is no error
    of the model. NaN without a group.
    """
    if not groups:
        return float("nan")
    likelihood = np.zeros(len(DISCREPANCIES))
    for above, run in groups:
        variance = DISCREPANCIES[:, None] ** 2 + run**2
        log_terms = -0.5 * (above[None, :] ** 2 / variance + np.log(variance))
        most = log_terms.max(axis=1)
        likelihood += np.log(np.exp(log_terms - most[:, None]).mean(axis=1)) + most
    return float(DISCREPANCIES[np.argmax(likelihood)])
