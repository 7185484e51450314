"""As xpfo_concurrent, but a vCPU that its host does not run is left a note, and flushes fully when it runs again.

C:       arch/x86/kernel/kvm.c  kvm_flush_tlb_multi(); arch/x86/kvm/x86.c  record_steal_time(); else xpfo_concurrent's
Return:  no running CPU holds the old mapping.
Stale:   nobody that runs. A held vCPU keeps the old mapping, and cannot use it, until the flush when it runs again.
         The stale window lasts until that flush, as it does where the interrupt waits for the vCPU.
Legal:   interrupts on and no spinlock held that a handler may want: it waits for the CPUs that run.
"""

from sim.abi import Flush, Own, Targets


def flush() -> Flush:
    return Flush(tell=Targets.OTHER_RUNNING, own=Own.AFTER_SENDS)
