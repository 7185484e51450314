"""As xpfo_deferred, but the periodic tick also checks the mark.

Kernel:   arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(), switch_mm_irqs_off(); kernel/time  update_process_times()
Return:   this CPU holds no stale entry.
Stale:    other CPUs for at most one tick, except after a lost mark; a nohz_full CPU until it switches.
Context:  any; never waits, interrupts may be off.
"""

from sim.policy import Check, Line, Local, Mark, Policy, Write

POLICY = Policy(
    local=Local.FIRST, mark=Mark(Line.GLOBAL, Write.PLAIN), switch_to_user=Check(Line.GLOBAL), tick=Check(Line.GLOBAL)
)
