"""What `cmake --install` puts where, and that the installed programs work and find each other there."""
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import BIN, Bell, children_of, title_of, until

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("BRIDGEBELL_BUILD", BIN.parent))
SAMPLES = ("minimal.conf", "sms-notifications.conf", "full.conf")
LOG_ONLY = """
provider "p" { type = log }
rule "r" { when = "true" to = { "+48500500500" } message = "hi" }
sender { processes = 1 }
"""


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """A prefix of its own with everything installed."""
    where = tmp_path_factory.mktemp("install") / "usr/local"
    subprocess.run(["cmake", "--install", BUILD, "--prefix", where], check=True, capture_output=True)
    return where


def paths_below(directory):
    return {str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file()}


def test_everything_stands_where_the_hierarchy_standard_wants_it(prefix):
    found = paths_below(prefix)
    for path in ("bin/bridgebell", "libexec/bridgebell/bridgebell-listener",
                 "libexec/bridgebell/bridgebell-dispatcher", "libexec/bridgebell/bridgebell-sender",
                 "share/man/man1/bridgebell.1", "share/man/man5/bridgebell.conf.5",
                 "share/doc/bridgebell/README.md", "share/doc/bridgebell/LICENSE",
                 "share/doc/bridgebell/operations.md", "share/bridgebell/samples/bridgebell.service",
                 *(f"share/bridgebell/samples/{name}" for name in SAMPLES)):
        assert path in found, f"{path} is not among {sorted(found)}"
    assert "share/bridgebell/samples/tests/sms-notifications.json" in found
    assert not [path for path in found if "sim" in Path(path).name or Path(path).name.startswith("test_")]


def test_destdir_goes_before_the_prefix(tmp_path):
    subprocess.run(["cmake", "--install", BUILD, "--prefix", "/usr"], check=True, capture_output=True,
                   env={**os.environ, "DESTDIR": str(tmp_path / "package")})
    assert (tmp_path / "package/usr/bin/bridgebell").exists()
    assert (tmp_path / "package/usr/libexec/bridgebell/bridgebell-sender").exists()


def test_the_installed_command_knows_itself(prefix):
    command = prefix / "bin/bridgebell"
    version = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    said = re.search(r"project\(bridgebell VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text()).group(1)
    assert version == f"bridgebell {said}\n"
    overview = subprocess.run([command, "--help"], capture_output=True, text=True, check=True).stdout
    commands = re.findall(r"^  ([a-z]+) ", overview, re.MULTILINE)
    assert {"run", "check", "status", "send", "queue", "reload", "stop"} <= set(commands)
    page = (prefix / "share/man/man1/bridgebell.1").read_text()
    for name in commands:
        told = subprocess.run([command, "help", name], capture_output=True, text=True, check=True).stdout
        assert told.startswith(f"Usage: bridgebell {name}") and "Options:" in told
        assert re.search(rf"^\.(It )?Cm (.* )?{name}( |$)", page, re.MULTILINE), f"{name} is not in the manual page"


def test_the_installed_programs_find_each_other(prefix, tmp_path):
    # Through a symbolic link too, as when a directory of the path points at the installation.
    (tmp_path / "path").mkdir()
    (tmp_path / "path/bridgebell").symlink_to(prefix / "bin/bridgebell")
    one = Bell(tmp_path, LOG_ONLY + f'dispatcher {{ store = "sqlite:{tmp_path}/queue.db" min_free = 1MiB }}\n',
               command=tmp_path / "path/bridgebell")
    try:
        one.start()
        until("the sender", lambda: any("bridgebell: sender" in title_of(p) for p in children_of(one.process.pid)))
        programs = {os.readlink(f"/proc/{pid}/exe") for pid in children_of(one.process.pid)}
        assert programs == {str(prefix / "libexec/bridgebell" / f"bridgebell-{role}") for role in ("dispatcher", "sender")}
        assert one.cli("send", "--to", "+48500500500", "--message", "x", "--wait").stdout.split()[1] == "sent"
        assert one.stop() == 0
    finally:
        one.kill_everything()


def test_a_lost_role_is_named(prefix, tmp_path):
    lone = tmp_path / "bin"
    lone.mkdir()
    shutil.copy(prefix / "bin/bridgebell", lone)
    one = Bell(tmp_path, LOG_ONLY, command=lone / "bridgebell")
    one.start(ready=False)
    assert one.process.wait(20) == 1
    assert "bridgebell-" in one.log_text() and "libexec" in one.log_text()


@pytest.mark.parametrize("name", SAMPLES)
def test_the_installed_samples_are_good(prefix, tmp_path, name):
    text = (prefix / "share/bridgebell/samples" / name).read_text()
    # Only the places of secrets are of this machine.
    for secret in ("bridge.secret", "smsapi.token"):
        assert f"/etc/bridgebell/{secret}" in text
        text = text.replace(f"/etc/bridgebell/{secret}", f"{tmp_path}/{secret}")
        (tmp_path / secret).write_text("x" * 32)
        (tmp_path / secret).chmod(0o600)
    (tmp_path / name).write_text(text)
    done = subprocess.run([prefix / "bin/bridgebell", "check", "-c", tmp_path / name], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_readme_names_is_there(prefix):
    text = (ROOT / "README.md").read_text()
    for path in re.findall(r"/usr/local/(\S+)", text):
        assert (prefix / path).exists(), path
    known = subprocess.run([prefix / "bin/bridgebell", "--help"], capture_output=True, text=True, check=True).stdout
    for words in re.findall(r"^ +(?:sudo )?bridgebell ([a-z]+)", text, re.MULTILINE):
        assert f"  {words} " in known, words
    for link in re.findall(r"\]\(((?:docs|conf)/[^)#]+)\)", text):
        assert (ROOT / link).exists(), link


def test_the_unit_file_is_sound(prefix, tmp_path):
    unit = prefix / "share/bridgebell/samples/bridgebell.service"
    text = unit.read_text()
    for line in ("Type=notify", "WatchdogSec=", "LoadCredential=", "NoNewPrivileges=", "ProtectSystem=strict",
                 "KillSignal=SIGQUIT", "ExecStart=/usr/local/bin/bridgebell run"):
        assert line in text, line
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd is not installed")
    # The programs need not be where they will be installed.
    here = tmp_path / "bridgebell.service"
    here.write_text(text.replace("/usr/local/bin", str(prefix / "bin")))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", here], capture_output=True, text=True, check=False)
    complaints = [one for one in done.stderr.splitlines() if "bridgebell.service" in one]
    assert not complaints, complaints
