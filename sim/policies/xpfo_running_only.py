"""As xpfo_concurrent, but a preempted vCPU is marked pending, and flushes fully when it runs again.

Kernel:   arch/x86/kernel/kvm.c  kvm_flush_tlb_multi(); arch/x86/kvm/x86.c  record_steal_time(); else xpfo_concurrent's
Return:   no running CPU holds the old mapping.
Stale:    no running CPU. A preempted vCPU keeps the old entry, and cannot use it, until the flush when it runs again.
          The stale window lasts until that flush, as it does where the interrupt waits for the vCPU.
Context:  interrupts on, no spinlock held that a handler may take: it waits for the running CPUs.
"""

from sim.policy import Local, Policy, Targets

POLICY = Policy(
    targets=Targets.OTHER_RUNNING, local=Local.AFTER_SENDS, presupposes="a host that tells its guest which vCPUs run"
)
