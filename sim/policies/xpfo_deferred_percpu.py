"""Flush the local TLB at once; set each other CPU's own flag, only where it is clear.

Kernel:   arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range() with test before set, as the review of XPFO v8 13/14 asks
Return:   this CPU holds no stale entry.
Stale:    other CPUs until they switch to a user task. No mark is lost: only its owner clears a flag.
Context:  any; never waits, interrupts may be off. It reads one line per online CPU.
"""

from sim.policy import Check, Line, Local, Mark, Policy, Write

POLICY = Policy(local=Local.FIRST, mark=Mark(Line.PER_CPU, Write.TEST_FIRST), switch_to_user=Check(Line.PER_CPU))
