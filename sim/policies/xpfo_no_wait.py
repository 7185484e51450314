"""As xpfo_concurrent, but the sender does not wait for the others: it goes on after its own flush.

C:       after kernel/smp.c  smp_call_function_many_cond() with wait=false; csd_lock() before a request is used again
Return:  this CPU is clean; every other CPU has been sent the interrupt.
Stale:   every other CPU until its handler run flushes: microseconds, or for as long as it cannot take the interrupt.
Legal:   interrupts on: a request still in use from the last flush event is waited for, and until then those whom it
         has told already are not interrupted. So where CPUs do nothing but flush, this gains nothing.
"""

from sim.abi import Done, Flush, Own, Targets


def flush() -> Flush:
    return Flush(tell=Targets.OTHER_ONLINE, own=Own.AFTER_SENDS, done=Done.SENT)
