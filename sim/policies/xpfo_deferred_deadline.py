"""As xpfo_deferred, but a CPU is interrupted, and flushes, when its mark is a millisecond old.

Kernel:   as xpfo_deferred; a timer that starts with the first mark sends the interrupt (a proposal without a patch)
Return:   this CPU holds no stale entry.
Stale:    other CPUs until they switch to a user task, at most for a millisecond and the interrupt.
Context:  any; never waits, interrupts may be off.
"""

from sim.policy import Check, Line, Local, Mark, Policy, Write

POLICY = Policy(
    local=Local.FIRST,
    mark=Mark(Line.GLOBAL, Write.PLAIN, deadline_ns=1_000_000.0),
    switch_to_user=Check(Line.GLOBAL),
    presupposes="a timer for each mark, which no patch has",
)
