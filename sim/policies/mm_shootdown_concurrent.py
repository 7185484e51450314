"""munmap(2), madvise(2), mprotect(2): tell the other CPUs that run this process, flush here while they flush, wait.

C:       arch/x86/mm/tlb.c  flush_tlb_mm_range() -> flush_tlb_multi() -> on_each_cpu_cond_mask()  (since 5.13)
         Each CPU remembers the generation up to which it has flushed: inc_mm_tlb_gen(), flush_tlb_func().
Return:  no CPU uses the old mapping of the process.
Stale:   nobody, once it returns; CPUs that are lazy or idle look at the generation when they come back.
Legal:   interrupts on: it waits for other CPUs.
"""

from sim.abi import Flush, Own, Run, Targets

BUILD = False


def flush() -> Flush:
    return Flush(tell=Targets.OTHER_BUSY, own=Own.AFTER_SENDS, run=Run.CATCH_UP)
