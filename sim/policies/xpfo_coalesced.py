"""As xpfo, but a handler run flushes fully once, at its first request, and only acknowledges the others.

C:       after kernel/smp.c  flush_smp_call_function_queue() and arch/x86/mm/tlb.c  do_flush_tlb_all()
Return:  no CPU holds the old mapping.
Stale:   nobody, once it returns.
Legal:   interrupts on and no spinlock held that a handler may want: it waits for other CPUs.
"""

from sim.abi import Flush, Own, Run, Targets


def flush() -> Flush:
    return Flush(tell=Targets.OTHER_ONLINE, own=Own.AFTER_ACKS, run=Run.FIRST_FULLY)
