"""Interrupt every other online CPU, wait until all have flushed the range, then flush it here.

C:       arch/x86/mm/tlb.c  flush_tlb_kernel_range() -> on_each_cpu(do_kernel_range_flush)  (XPFO v7, v8 before 13/14)
Return:  no CPU holds the old mapping.
Stale:   nobody, once it returns.
Legal:   interrupts on and no spinlock held that a handler may want: it waits for other CPUs.
"""

from sim.abi import Flush, Own, Targets


def flush() -> Flush:
    return Flush(tell=Targets.OTHER_ONLINE, own=Own.AFTER_ACKS)
