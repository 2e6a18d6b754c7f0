"""Whether a virtual machine can run on this server's processor, found out by running one.

That ``/dev/kvm`` opens proves nothing: some nested hosts emulate every instruction behind it, so slowly that a guest
never boots, with no error anywhere. So a bare vCPU is given a loop of 200,000 turns and is timed: hardware needs a few
milliseconds, emulation hundreds. The probe runs in a process of its own, since a broken one may never return.

Source: the kernel's Documentation/virt/kvm/api.rst (ioctl numbers and structures are those of x86-64).
"""

import fcntl
import mmap
import os
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

LOOP_TURNS = 200_000
HARDWARE_WITHIN_MS = 100.0
_PROBE_WITHIN_S = 5.0

_KVM_GET_API_VERSION = 0xAE00
_KVM_CREATE_VM = 0xAE01
_KVM_GET_VCPU_MMAP_SIZE = 0xAE04
_KVM_CREATE_VCPU = 0xAE41
_KVM_SET_USER_MEMORY_REGION = 0x4020AE46
_KVM_RUN = 0xAE80
_KVM_SET_REGS = 0x4090AE82
_KVM_GET_SREGS = 0x8138AE83
_KVM_SET_SREGS = 0x4138AE84
_KVM_EXIT_HLT = 5
_SREGS_BYTES = 312
_LOAD_ADDRESS = 0x1000


class Accelerator(StrEnum):
    """QEMU's names."""

    KVM = "kvm"
    TCG = "tcg"


@dataclass(frozen=True, slots=True)
class AcceleratorFinding:
    """What VMs run with on this server, and why. ``loop_ms`` is what the probe's loop took, where it ran."""

    accelerator: Accelerator
    reason: str
    loop_ms: float | None = None

    @property
    def qemu_option(self) -> str:
        """The value of QEMU's ``-accel``."""
        return "kvm" if self.accelerator is Accelerator.KVM else "tcg,thread=multi,tb-size=128"


def observe_accelerator() -> AcceleratorFinding:
    """Try the hardware; takes some tenths of a second at most, five seconds on a host that hangs."""
    if not Path("/dev/kvm").exists():
        return AcceleratorFinding(Accelerator.TCG, "there is no /dev/kvm")
    if Path("/sys/module/kvm_pvm").exists():
        return AcceleratorFinding(Accelerator.TCG, "its KVM is of the PVM kind, on which stock kernels do not boot")
    flags = _cpu_flags()
    if not flags & {"vmx", "svm"}:
        return AcceleratorFinding(Accelerator.TCG, "the processor shows neither vmx nor svm")
    return _timed_probe()


def _cpu_flags() -> set[str]:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()


def _timed_probe() -> AcceleratorFinding:
    command = [sys.executable, "-m", "outrider.appliances.accelerator"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_WITHIN_S, check=False)
    except subprocess.TimeoutExpired:
        return AcceleratorFinding(Accelerator.TCG, f"a vCPU did not end its loop in {_PROBE_WITHIN_S:.0f} s")
    if done.returncode:
        said = done.stderr.strip().splitlines()
        return AcceleratorFinding(Accelerator.TCG, f"a vCPU does not run: {said[-1] if said else 'no reason given'}")
    loop_ms = float(done.stdout)
    if loop_ms > HARDWARE_WITHIN_MS:
        return AcceleratorFinding(Accelerator.TCG, f"a vCPU is emulated: {loop_ms:.0f} ms for its loop", loop_ms)
    return AcceleratorFinding(Accelerator.KVM, f"a vCPU ran its loop in {loop_ms:.1f} ms", loop_ms)


def run_loop_on_vcpu() -> float:
    """Milliseconds that ``LOOP_TURNS`` turns take on a raw vCPU in real mode; raises ``OSError`` when it cannot run."""
    # mov ecx, TURNS; again: dec ecx; jnz again; hlt (16-bit code with 32-bit operands)
    code = b"\x66\xb9" + struct.pack("<I", LOOP_TURNS) + b"\x66\x49" + b"\x75\xfc" + b"\xf4"
    kvm = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    vm = fcntl.ioctl(kvm, _KVM_CREATE_VM, 0)
    memory = mmap.mmap(-1, 0x1000)
    memory.write(code)
    region = struct.pack("IIQQQ", 0, 0, _LOAD_ADDRESS, 0x1000, _address_of(memory))
    fcntl.ioctl(vm, _KVM_SET_USER_MEMORY_REGION, region)
    vcpu = fcntl.ioctl(vm, _KVM_CREATE_VCPU, 0)
    run = mmap.mmap(vcpu, fcntl.ioctl(kvm, _KVM_GET_VCPU_MMAP_SIZE, 0))
    _point_at_code(vcpu)
    started = time.perf_counter()
    fcntl.ioctl(vcpu, _KVM_RUN, 0)
    took_ms = (time.perf_counter() - started) * 1000
    (exit_reason,) = struct.unpack_from("I", run, 8)
    if exit_reason != _KVM_EXIT_HLT:
        raise OSError(f"the vCPU left with exit reason {exit_reason} instead of the halt")
    return took_ms


def _point_at_code(vcpu: int) -> None:
    """Real mode, code segment at 0, instruction pointer at the code, flags as after a reset."""
    sregs = bytearray(_SREGS_BYTES)
    fcntl.ioctl(vcpu, _KVM_GET_SREGS, sregs)
    struct.pack_into("<Q", sregs, 0, 0)  # cs.base
    struct.pack_into("<H", sregs, 12, 0)  # cs.selector
    fcntl.ioctl(vcpu, _KVM_SET_SREGS, bytes(sregs))
    registers = [0] * 18  # rax … r15, rip, rflags
    registers[16], registers[17] = _LOAD_ADDRESS, 2
    fcntl.ioctl(vcpu, _KVM_SET_REGS, struct.pack("<18Q", *registers))


def _address_of(memory: mmap.mmap) -> int:
    import ctypes  # noqa: PLC0415  # only the probe's own process needs it

    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


if __name__ == "__main__":
    print(run_loop_on_vcpu())
