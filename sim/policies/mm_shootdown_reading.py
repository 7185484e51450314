"""As mm_shootdown_concurrent, but every request reads the newest generation, as before Linux 5.19.

Kernel:   arch/x86/mm/tlb.c  flush_tlb_func() reads mm_tlb_gen before the test for an old request (5.13 to 5.18)
Return:   no CPU uses the old mapping of the process.
Stale:    no CPU, once it returns; lazy and idle CPUs check the generation when they run the process again.
Context:  interrupts on: it waits for other CPUs.
"""

from sim.policy import Local, Policy, Run, Targets

POLICY = Policy(targets=Targets.OTHER_BUSY, local=Local.AFTER_SENDS, run=Run.CATCH_UP_READING, build=False)
