"""The tables of docs/policies.md, from each policy's docstring and its typed value."""

import inspect
import re

from sim.policies import Policies
from sim.policy import Done, Local, Policy, Run, Targets

LABEL = re.compile(r"^(\w+):\s+", re.MULTILINE)  # of a paragraph of a docstring
PLACES = {
    "switch_to_user": "switch to a user task",
    "tick": "tick",
    "kernel_entry": "kernel entry",
    "migration": "arrival of a marked task",
}
WAITS = {Done.FLUSHED: "for each flush", Done.RUN_BEGUN: "for each handler to begin", Done.SENT: "no"}


def flush(policy: Policy) -> str:
    """The kind of its flush events."""
    if policy.targets is Targets.HARDWARE:
        return "hardware broadcast"
    if policy.targets.interrupts:
        return "broadcast by interrupts"
    return "deferral" if policy.mark and policy.local is Local.FIRST else "no flush"


def tables() -> dict[str, str]:
    """Both tables by the name of their marker: what each policy does, and where it may run."""
    policies = Policies()
    kinds = ("no flush", "broadcast by interrupts", "deferral", "hardware broadcast")
    names = sorted(policies, key=lambda name: (not policies[name].build, kinds.index(flush(policies[name])), name))
    does, allowed = [], []
    for name in names:
        policy = policies[name]
        sentence, said = _docstring(policies.text(name))
        link = f"[`{name}`](../sim/policies/{name}.py)"
        does.append([link, sentence, flush(policy), _waits(policy), _interrupted(policy), _checked(policy)])
        allowed.append([link, said["Stale"], said["Context"], said["Kernel"], policy.presupposes])
    return {
        "flush events": table(["policy", "flush event", "kind", "sender waits", "interrupted", "marks checked"], does),
        "contexts": table(["policy", "stale", "context", "kernel or patch", "presupposes"], allowed),
    }


def _waits(policy: Policy) -> str:
    if policy.targets is Targets.HARDWARE:
        return "for the fabric"
    if not policy.targets.interrupts:
        return "no"
    waits = "for each handler" if policy.run is Run.NOTHING else WAITS[policy.done]
    return f"{waits}, and for other senders" if policy.mutex else waits


def _interrupted(policy: Policy) -> str:
    if policy.mark is not None and policy.has_deadline:
        return f"CPUs whose mark is {policy.mark.deadline_ns / 1e6:g} ms old"
    return policy.targets.value if policy.targets.interrupts else "no CPU"


def _checked(policy: Policy) -> str:
    if policy.targets is Targets.OTHER_RUNNING:
        return "return of a preempted vCPU"
    if policy.targets.looks_for_user_mode:
        return PLACES["kernel_entry"]
    return ", ".join(PLACES[place] for place in policy.checks)


def _docstring(text: str) -> tuple[str, dict[str, str]]:
    """A policy's sentence, and its labelled paragraphs by label."""
    sentence, _, rest = inspect.cleandoc(text).partition("\n\n")
    _, *labelled = LABEL.split(rest)
    return _plain(sentence), {label: _plain(said) for label, said in zip(labelled[::2], labelled[1::2], strict=True)}


def _plain(text: str) -> str:
    """Text on one line that means nothing to Markdown, code in backticks aside."""
    parts = " ".join(text.split()).split("`")
    parts[::2] = [re.sub(r"([\\*_<|])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [heads, ["---"] * len(heads), *rows])
