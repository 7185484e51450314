"""As xpfo, but a request is acknowledged when the handler begins, not when its flush is over.

C:       arch/x86/mm/tlb.c  flush_tlb_kernel_range(); kernel/smp.c  flush_smp_call_function_queue()
Ref:     Amit, Tai, Wei: Don't shoot down TLB shootdowns! EuroSys 2020
Return:  every CPU has entered its handler, some may not have flushed yet.
Stale:   other CPUs in the kernel, until the handler's flush a microsecond later; user space nowhere.
Legal:   interrupts on and no spinlock held that a handler may want: it waits for other CPUs.
"""

from sim.abi import Done, Flush, Own, Targets


def flush() -> Flush:
    return Flush(tell=Targets.OTHER_ONLINE, own=Own.AFTER_ACKS, done=Done.RUN_BEGUN)
