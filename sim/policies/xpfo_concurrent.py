"""As xpfo, but the sender flushes itself while the others do: after the last ICR write, before the acks.

C:       kernel/smp.c  on_each_cpu_cond_mask(), smp_call_function_many_cond()  (Linux 5.13)
Return:  no CPU holds the old mapping.
Stale:   nobody, once it returns.
Legal:   interrupts on and no spinlock held that a handler may want: it waits for other CPUs.
"""

from sim.abi import Flush, Own, Targets


def flush() -> Flush:
    return Flush(tell=Targets.OTHER_ONLINE, own=Own.AFTER_SENDS)
