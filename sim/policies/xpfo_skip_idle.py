"""As xpfo, but idle CPUs are not interrupted; one flushes fully when it wakes.

C:       arch/x86/mm/tlb.c  flush_tlb_kernel_range() with the lazy-TLB idea of flush_tlb_others() and leave_mm()
Return:  no running CPU holds the old mapping.
Stale:   nobody that runs. An idle CPU must flush before anything else when it wakes, by interrupt too; the price of
         that is not modelled, so this is a bound.
Legal:   interrupts on and no spinlock held that a handler may want: it waits for other CPUs.
"""

from sim.abi import Flush, Own, Targets


def flush() -> Flush:
    return Flush(tell=Targets.OTHER_BUSY, own=Own.AFTER_ACKS)
