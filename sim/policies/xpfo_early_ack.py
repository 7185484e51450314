"""As xpfo, but a request is acknowledged when the handler begins, not when its flush ends.

Kernel:   arch/x86/mm/tlb.c  flush_tlb_kernel_range(); kernel/smp.c  flush_smp_call_function_queue()
Ref:      Amit, Tai, Wei: Don't shoot down TLB shootdowns! EuroSys 2020
Return:   every CPU has entered its handler; some may not have flushed yet.
Stale:    other CPUs in the kernel, until the flush of the handler a microsecond later; never user space.
Context:  interrupts on, no spinlock held that a handler may take: it waits for other CPUs.
"""

from sim.policy import Done, Local, Policy, Targets

POLICY = Policy(targets=Targets.OTHER_ONLINE, local=Local.AFTER_ACKS, done=Done.RUN_BEGUN)
