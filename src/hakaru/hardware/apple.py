"""The GPU of an Apple-silicon Mac: the part of the memory that Metal recommends for it.

Metal itself is asked, through the C functions that its framework exports; its answer follows
`iogpu.wired_limit_mb` where somebody set that. Where Metal does not answer, a limit set by hand
counts, and without one the figure that `unified` has for a Mac of this memory.
"""

import ctypes
import platform

from hakaru.hardware.facts import known_bandwidth, known_rates
from hakaru.hardware.kernel import sysctl
from hakaru.hardware.machine import Device, Memory
from hakaru.hardware.unified import apple_share


def apple(memory: Memory) -> list[Device]:
    """The GPU of this Mac; none on other systems."""
    if platform.system() != "Darwin" or platform.machine() != "arm64":
        return []
    name = sysctl("machdep.cpu.brand_string") or "Apple"
    share, source = working_set(memory.total_bytes)
    return [
        Device(
            name=name,
            vendor="apple",
            total_bytes=share,
            free_bytes=min(share, memory.available_bytes),
            unified=True,
            bandwidth_gb_s=known_bandwidth(name),
            rates=known_rates(name),
            source=source,
        )
    ]


def working_set(total_bytes: int) -> tuple[int, str]:
    """Bytes that the GPU may take, and who says so. `total_bytes` is the Mac's memory."""
    if recommended := _metal():
        return recommended, "Metal"
    by_hand = sysctl("iogpu.wired_limit_mb") or ""
    if by_hand.isdigit() and int(by_hand):
        return int(by_hand) * 2**20, "iogpu.wired_limit_mb"
    return apple_share(round(total_bytes / 2**30))[0], "unified memory"


def _metal() -> int | None:
    """`MTLCreateSystemDefaultDevice().recommendedMaxWorkingSetSize`; None where that cannot be
    asked.

    Source: Apple, MTLDevice.recommendedMaxWorkingSetSize. A command-line program must have
    CoreGraphics loaded first.
    """
    try:
        ctypes.CDLL("/System/Library/Frameworks/CoreGraphics.framework/CoreGraphics")
        metal = ctypes.CDLL("/System/Library/Frameworks/Metal.framework/Metal")
        objc = ctypes.CDLL("/usr/lib/libobjc.A.dylib")
        metal.MTLCreateSystemDefaultDevice.restype = ctypes.c_void_p
        objc.sel_registerName.restype, objc.sel_registerName.argtypes = (
            ctypes.c_void_p,
            [ctypes.c_char_p],
        )
        device = metal.MTLCreateSystemDefaultDevice()
        selector = objc.sel_registerName(b"recommendedMaxWorkingSetSize")
        send = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p)(
            ("objc_msgSend", objc)
        )
        return int(send(device, selector)) or None if device else None
    except (OSError, AttributeError):
        return None
