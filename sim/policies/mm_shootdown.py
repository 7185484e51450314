"""munmap(2), madvise(2), mprotect(2): flush the local TLB, then interrupt the other CPUs of this process.

Kernel:   arch/x86/mm/tlb.c  flush_tlb_mm_range() -> flush_tlb_func_local(), then flush_tlb_others()  (up to 5.12)
          Each CPU remembers the generation up to which it has flushed: inc_mm_tlb_gen(), flush_tlb_func().
Return:   no CPU uses the old mapping of the process.
Stale:    no CPU, once it returns; CPUs that are lazy or idle look at the generation when they come back.
Context:  interrupts on: it waits for other CPUs. The model keeps them on in the local flush, the kernel does not.
"""

from sim.policy import Local, Policy, Run, Targets

POLICY = Policy(targets=Targets.OTHER_BUSY, local=Local.FIRST, run=Run.CATCH_UP_READING, build=False)
