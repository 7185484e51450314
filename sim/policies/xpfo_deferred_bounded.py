"""As xpfo_deferred, and the periodic tick checks the mark too.

Kernel:   arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(), switch_mm_irqs_off(); kernel/time  update_process_times()
Return:   this CPU holds no stale entry.
Stale:    other CPUs that tick, for at most one tick (lost marks aside); a nohz_full CPU until it switches.
Context:  any; never waits, interrupts may be off.
"""

from sim.policy import Check, Line, Local, Mark, Policy, Write

POLICY = Policy(
    local=Local.FIRST, mark=Mark(Line.GLOBAL, Write.PLAIN), switch_to_user=Check(Line.GLOBAL), tick=Check(Line.GLOBAL)
)
