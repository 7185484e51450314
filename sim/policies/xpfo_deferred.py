"""Flush the local TLB at once; mark the other CPUs pending, checked at their next switch to a user task.

Kernel:   arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(), switch_mm_irqs_off()  (XPFO v8 13/14)
Return:   this CPU holds no stale entry.
Stale:    other CPUs until they switch to a user task. The mask is written by a plain read-modify-write, so a mark may
          be lost until the next one.
Context:  any; never waits, interrupts may be off.
"""

from sim.policy import Check, Line, Local, Mark, Policy, Write

POLICY = Policy(local=Local.FIRST, mark=Mark(Line.GLOBAL, Write.PLAIN), switch_to_user=Check(Line.GLOBAL))
