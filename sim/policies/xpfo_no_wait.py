"""As xpfo_concurrent, but the sender does not wait for acks: it continues after its local flush.

Kernel:   after kernel/smp.c  smp_call_function_many_cond() with wait=false; csd_lock() before the reuse of a request
Return:   this CPU holds no stale entry, and the interrupts to all other CPUs are sent.
Stale:    other CPUs until their handler run flushes: microseconds, or for as long as they cannot take the interrupt.
Context:  interrupts on: the sender waits for a request that is still in use from its last flush event, and delays its
          interrupts until then. So CPUs that do nothing but flush gain nothing.
"""

from sim.policy import Done, Local, Policy, Targets

POLICY = Policy(targets=Targets.OTHER_ONLINE, local=Local.AFTER_SENDS, done=Done.SENT)
