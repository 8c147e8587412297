"""A time of day that a test can set, for the product and the simulated Bridge alike (tests/chaos/clock.c)."""
import calendar
import os
import struct
import subprocess
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "chaos" / "clock.c"


def utc(text):
    """Seconds since 1970 of "2026-11-27 22:30" in UTC."""
    return calendar.timegm(time.strptime(text, "%Y-%m-%d %H:%M"))


class Clock:
    def __init__(self, directory, bridge):
        library, self.file = directory / "clock.so", directory / "clock.offset"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE], check=True, capture_output=True)
        self.file.write_bytes(struct.pack("=q", 0))
        # The sanitizers' runtime wants to be first among the libraries; a clock before it does no harm.
        sanitizer = ":".join(word for word in (os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0") if word)
        self.env = {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(self.file), "ASAN_OPTIONS": sanitizer}
        self.bridge = bridge
        self.offset_s = 0

    def _write(self):
        with open(self.file, "r+b") as f:
            f.write(struct.pack("=q", self.offset_s))
        self.bridge.faults(clock_offset_ms=self.offset_s * 1000)

    def set(self, text):
        """It is now "2026-11-27 22:30", UTC."""
        self.offset_s = int(utc(text) - time.time()) + 1
        self._write()

    def forward(self, seconds):
        self.offset_s += seconds
        self._write()
