"""Which engine a plan runs on: under `engine=auto` compiled loops, unless getting them takes longer than the work."""

from __future__ import annotations

import sys
from dataclasses import replace

from sim.machine.compiled.cache import has_compiler, is_compiled
from sim.policies import policy_module
from sweep.errors import BadInput
from sweep.plan.plan import Plan

COMPILE_S = {"serve_broadcast": 12.0, "serve_server": 8.0, "serve_exact": 16.0}  # measured on one core of 2.1 GHz
LOAD_S = 0.8  # of importing numba and loading a loop that is compiled, on the same


def choose_engine(plan: Plan, asked: str, again: bool = False) -> Plan:
    """The plan with its engine; BadInput where that cannot simulate it.

    `again`: other plans follow it, so loops are compiled though that takes longer than this one.
    """
    loops = loops_of(plan)
    if "serve_exact" in loops and asked == "vectorized":
        raise BadInput("engine=vectorized: does not simulate rule=exact; give engine=compiled, or rule=coarse")
    if not has_compiler():
        if "serve_exact" in loops:
            raise BadInput("rule=exact: takes too long without compiled loops; install numba, or give rule=coarse")
        if asked == "compiled":
            raise BadInput("engine=compiled: numba is not installed; install it, or give engine=vectorized")
        return replace(plan, engine="vectorized", engine_because="numba is not installed")
    if asked != "auto":
        return replace(plan, engine=asked)
    compile_s = sum(COMPILE_S[loop] for loop in loops if not is_compiled(loop))
    if compile_s > 0.0 and not again and "serve_exact" not in loops and plan.estimate_s < compile_s:
        return replace(plan, engine="vectorized", engine_because=f"compiling would take about {compile_s:.0f} s")
    loaded = compile_s == 0.0 and "numba" in sys.modules
    if loops and not loaded and "serve_exact" not in loops and plan.estimate_s < LOAD_S:
        return replace(plan, engine="vectorized")
    because = f"compiles for about {compile_s:.0f} s first" if compile_s > 0.0 else ""
    return replace(plan, engine="compiled", engine_because=because)


def loops_of(plan: Plan) -> set[str]:
    """The compiled loops that simulate a plan's points, as if it ran on them."""
    loops: set[str | None] = set()
    for block, firsts in plan.shapes():
        if len(firsts):
            columns = plan.space.block_columns(block, firsts)
            rules = columns["rule"].tolist() if "rule" in columns else ["coarse"] * len(firsts)
            loops |= {_loop(*pair) for pair in set(zip(columns["policy"].tolist(), rules, strict=True))}
    return {loop for loop in loops if loop}


def _loop(policy: str, rule: str) -> str | None:
    """The compiled loop of a policy under a rule; None where nothing is simulated."""
    if policy == "vanilla":
        return None
    if not policy_module(policy).flush().tell.interrupts:
        return "serve_server"
    return "serve_exact" if rule == "exact" else "serve_broadcast"
