"""A short run of the chaos driver: every kind of fault once at least, a fixed seed, nothing lost and nothing twice."""
import subprocess
import sys
from pathlib import Path

from conftest import BIN

DRIVER = Path(__file__).resolve().parents[1] / "chaos" / "chaos.py"


def test_nothing_lost_nothing_twice(tmp_path):
    done = subprocess.run([sys.executable, "-B", DRIVER, BIN, "--minutes", "0.67", "--seed", "1", "--pause", "0.5",
                           "--directory", tmp_path, "--keep"], capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lost: 0  doubled: 0  unexplained: 0" in done.stdout
