"""As mm_shootdown_concurrent before Linux 5.19: each request reads the newest generation, needed or not.

Kernel:   arch/x86/mm/tlb.c  flush_tlb_func() reads mm_tlb_gen before it asks whether the request is old (5.13 to 5.18)
Return:   no CPU uses the old mapping of the process.
Stale:    no CPU, once it returns; CPUs that are lazy or idle look at the generation when they come back.
Context:  interrupts on: it waits for other CPUs.
"""

from sim.policy import Local, Policy, Run, Targets

POLICY = Policy(targets=Targets.OTHER_BUSY, local=Local.AFTER_SENDS, run=Run.CATCH_UP_READING, build=False)
