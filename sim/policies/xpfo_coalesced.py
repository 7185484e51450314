"""As xpfo, but a handler run flushes fully at its first request, and only acknowledges the others.

Kernel:   after kernel/smp.c  flush_smp_call_function_queue() and arch/x86/mm/tlb.c  do_flush_tlb_all()
Return:   no CPU holds the old mapping.
Stale:    no CPU, once it returns.
Context:  interrupts on, no spinlock held that a handler may take: it waits for other CPUs.
"""

from sim.policy import Local, Policy, Run, Targets

POLICY = Policy(targets=Targets.OTHER_ONLINE, local=Local.AFTER_ACKS, run=Run.FIRST_FULLY)
