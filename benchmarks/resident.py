"""Resident memory of this process: now, and its peak since a moment of our choice."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
PEAK_RESET = "5"
"""What Linux takes for: forget the peak of resident memory (proc(5))."""


def reset_peak() -> int:
    """Begins anew, and returns the bytes that are resident now; where the system cannot, the peak so far."""
    try:
        CLEAR.write_text(PEAK_RESET)
        return _status("VmRSS")
    except OSError:
        return peak_bytes()


def peak_bytes() -> int:
    """The most that was resident since `reset_peak`, or ever."""
    if STATUS.exists():
        return _status("VmHWM")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _status(name: str) -> int:
    line = next(line for line in STATUS.read_text(encoding="ascii").splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024
