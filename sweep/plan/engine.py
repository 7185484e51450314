"""The engine of a plan: compiled loops for broadcasts, and for other policies the quicker engine."""

import sys
from dataclasses import replace

from sim.machine.compiled.cache import has_compiler, is_compiled
from sim.machine.engines import check_vectorized
from sim.parameters import PARAMETERS
from sim.policy import Policy
from sweep.errors import BadInput
from sweep.plan.checks import different
from sweep.plan.plan import Plan

COMPILE_S = {"serve_broadcast": 12.5, "serve_server": 4.5}  # measured on one core
LOAD_S = 0.8  # to import numba and load a compiled loop, on the same core
ASKED = (
    "policy", "cores", "sockets", "threads_per_core", "delivery", "fill",
    *(name for name, parameter in PARAMETERS.items() if parameter.compiled),
)  # fmt: skip
APPROXIMATE = "broadcasts are approximated by numpy, in two events for a flush event"


def choose_engine(plan: Plan, asked: str, again: bool = False) -> Plan:
    """The plan with its engine; BadInput if the engine cannot simulate it.

    `again`: other plans follow, so loops are compiled even if that takes longer than this plan.
    """
    if asked == "compiled" and not has_compiler():
        raise BadInput("engine=compiled: numba is not installed; install it, or give engine=vectorized")
    if asked == "vectorized" or not has_compiler():
        if wrong := _not_vectorized(plan):
            raise BadInput(wrong)
        chosen = replace(plan, engine="vectorized")
        why = [] if asked == "vectorized" else ["numba is not installed"]
        return replace(chosen, engine_because=": ".join(why + [APPROXIMATE] * chosen.is_approximate))
    loops = {_loop(policy) for name, policy in plan.policies.items() if name != "vanilla"}
    compile_s = sum(COMPILE_S[loop] for loop in loops if not is_compiled(loop))
    if asked == "auto" and loops and "serve_broadcast" not in loops:
        if compile_s > 0.0 and not again and plan.estimate_s < compile_s and not _not_vectorized(plan):
            because = f"compiling would take about {compile_s:.0f} s"
            return replace(plan, engine="vectorized", engine_because=because)
        if compile_s == 0.0 and "numba" not in sys.modules and plan.estimate_s < LOAD_S and not _not_vectorized(plan):
            return replace(plan, engine="vectorized")
    because = f"compiles for about {compile_s:.0f} s first" if compile_s > 0.0 else ""
    return replace(plan, engine="compiled", engine_because=because)


def _loop(policy: Policy) -> str:
    return "serve_broadcast" if policy.targets.interrupts else "serve_server"


def _not_vectorized(plan: Plan) -> str:
    """The reason why the numpy engine does not model a point; empty if it models all."""
    for block, firsts in plan.shapes():
        for _, point in different(plan.space.block_columns(block, firsts), ASKED) if len(firsts) else ():
            try:
                check_vectorized(plan.policies[point["policy"]], point)
            except ValueError as error:
                missing = "" if has_compiler() else ", and numba is not installed"
                return f"policy {point['policy']}: {error}{missing}"
    return ""
