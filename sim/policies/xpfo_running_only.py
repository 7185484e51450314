"""As xpfo_concurrent, but a preempted vCPU is marked pending, and flushes fully when it runs again.

Kernel:   arch/x86/kernel/kvm.c  kvm_flush_tlb_multi(); arch/x86/kvm/x86.c  record_steal_time(); else as xpfo_concurrent
Return:   no running CPU holds the old mapping.
Stale:    a preempted vCPU, which cannot use the old entry, until it flushes when it runs again. That flush ends the
          stale window, as the handler run does where the interrupt waits for the vCPU.
Context:  interrupts on, no spinlock held that a handler may take: it waits for the running CPUs.
"""

from sim.policy import Local, Policy, Targets

POLICY = Policy(
    targets=Targets.OTHER_RUNNING, local=Local.AFTER_SENDS, presupposes="a host that exports which vCPUs run"
)
