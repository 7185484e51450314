"""munmap(2), madvise(2), mprotect(2): flush the local TLB, then interrupt the other CPUs of this process.

Kernel:   arch/x86/mm/tlb.c  flush_tlb_mm_range() -> flush_tlb_func_local(), then flush_tlb_others()  (up to 5.12)
          Each CPU keeps the generation up to which it has flushed: inc_mm_tlb_gen(), flush_tlb_func().
Return:   no CPU uses the old mapping of the process.
Stale:    no CPU, once it returns; lazy and idle CPUs check the generation when they run the process again.
Context:  interrupts on: it waits for other CPUs. In the local flush the kernel turns them off, the model does not.
"""

from sim.policy import Local, Policy, Run, Targets

POLICY = Policy(targets=Targets.OTHER_BUSY, local=Local.FIRST, run=Run.CATCH_UP_READING, build=False)
