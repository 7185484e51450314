"""As xpfo_concurrent, but the sender does not wait for the others: it goes on after its local flush.

Kernel:   after kernel/smp.c  smp_call_function_many_cond() with wait=false; csd_lock() before a request is used again
Return:   this CPU holds no stale entry; every other CPU has been sent the interrupt.
Stale:    other CPUs until their handler run flushes: microseconds, or for as long as they cannot take the interrupt.
Context:  interrupts on: a request still in use from the last flush event is waited for, and until then the CPUs whose
          requests are queued are not interrupted. So where CPUs do nothing but flush, this gains nothing.
"""

from sim.policy import Done, Local, Policy, Targets

POLICY = Policy(targets=Targets.OTHER_ONLINE, local=Local.AFTER_SENDS, done=Done.SENT)
