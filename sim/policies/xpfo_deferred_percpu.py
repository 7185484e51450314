"""Flush the local TLB at once; set the flag of each other CPU where it is clear.

Kernel:   arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range() with a test before each set  (review of XPFO v8 13/14)
Return:   this CPU holds no stale entry.
Stale:    other CPUs until they switch to a user task. No mark is lost: only its CPU clears a flag.
Context:  any; never waits, interrupts may be off. The sender reads one line per online CPU.
"""

from sim.policy import Check, Line, Local, Mark, Policy, Write

POLICY = Policy(local=Local.FIRST, mark=Mark(Line.PER_CPU, Write.TEST_FIRST), switch_to_user=Check(Line.PER_CPU))
