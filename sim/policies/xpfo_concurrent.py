"""As xpfo, but the local flush comes between the last ICR write and the acks, while the other CPUs flush.

Kernel:   kernel/smp.c  on_each_cpu_cond_mask(), smp_call_function_many_cond()  (Linux 5.13)
Return:   no CPU holds the old mapping.
Stale:    no CPU, once it returns.
Context:  interrupts on, no spinlock held that a handler may take: it waits for other CPUs.
"""

from sim.policy import Local, Policy, Targets

POLICY = Policy(targets=Targets.OTHER_ONLINE, local=Local.AFTER_SENDS)
