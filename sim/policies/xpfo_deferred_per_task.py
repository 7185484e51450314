"""Flush the local TLB at once; mark the other CPUs pending in the current task's own mask, checked where it arrives.

Kernel:   arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(), switch_mm_irqs_off() with the mask in task_struct  (XPFO v7)
Return:   this CPU holds no stale entry.
Stale:    other CPUs until a task with their bit set migrates there; a CPU that no such task visits, for ever.
Context:  any; never waits, interrupts may be off. The line is the task's own, so nobody contends for it.
"""

from sim.policy import Check, Line, Local, Mark, Policy, Write

POLICY = Policy(local=Local.FIRST, mark=Mark(Line.TASK, Write.PLAIN), migration=Check(Line.TASK))
