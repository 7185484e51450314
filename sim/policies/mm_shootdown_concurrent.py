"""munmap(2), madvise(2), mprotect(2): interrupt the other CPUs of this process; flush the local TLB meanwhile.

Kernel:   arch/x86/mm/tlb.c  flush_tlb_mm_range() -> flush_tlb_multi() -> on_each_cpu_cond_mask()  (since 5.13)
          Each CPU keeps the generation up to which it has flushed: inc_mm_tlb_gen(), flush_tlb_func().
Return:   no CPU uses the old mapping of the process.
Stale:    no CPU, once it returns; lazy and idle CPUs check the generation when they run the process again.
Context:  interrupts on: it waits for other CPUs.
"""

from sim.policy import Local, Policy, Run, Targets

POLICY = Policy(targets=Targets.OTHER_BUSY, local=Local.AFTER_SENDS, run=Run.CATCH_UP, build=False)
