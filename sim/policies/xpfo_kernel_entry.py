"""As xpfo_deferred, but every kernel entry also checks the mark, so no system call begins with a stale entry.

Kernel:   arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(), switch_mm_irqs_off(); arch/x86/entry  (review of v7 to v9)
Return:   this CPU holds no stale entry.
Stale:    CPUs that are in the kernel already, until they switch or next enter the kernel.
Context:  any; never waits, interrupts may be off. Every kernel entry accesses the shared line.
"""

from sim.policy import Check, Line, Local, Mark, Policy, Write

POLICY = Policy(
    local=Local.FIRST,
    mark=Mark(Line.GLOBAL, Write.PLAIN),
    switch_to_user=Check(Line.GLOBAL),
    kernel_entry=Check(Line.GLOBAL),
)
