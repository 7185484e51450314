"""munmap(2), madvise(2), mprotect(2): flush the range here first, then on the other CPUs that run this process.

C:       arch/x86/mm/tlb.c  flush_tlb_mm_range() -> flush_tlb_func_local(), then flush_tlb_others()  (up to 5.12)
         Each CPU remembers the generation up to which it has flushed: inc_mm_tlb_gen(), flush_tlb_func().
Return:  no CPU uses the old mapping of the process.
Stale:   nobody, once it returns; CPUs that are lazy or idle look at the generation when they come back.
Legal:   interrupts on: it waits for other CPUs. They count as on in the own flush, which the kernel does with them off.
"""

from sim.abi import Flush, Own, Run, Targets

BUILD = False


def flush() -> Flush:
    return Flush(tell=Targets.OTHER_BUSY, own=Own.BEFORE, run=Run.CATCH_UP)
