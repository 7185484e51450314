"""Flush the local TLB at once; mark the other CPUs pending in a mask of the current task, checked when it migrates.

Kernel:   arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(), switch_mm_irqs_off() with the mask in task_struct  (XPFO v7)
Return:   this CPU holds no stale entry.
Stale:    other CPUs until a task with their bit set migrates to them; without such a task, for ever.
Context:  any; never waits, interrupts may be off. The line belongs to one task, so there is no contention.
"""

from sim.policy import Check, Line, Local, Mark, Policy, Write

POLICY = Policy(local=Local.FIRST, mark=Mark(Line.TASK, Write.PLAIN), migration=Check(Line.TASK))
