"""What the documents name is there: options in help and manual page alike, files, and links."""
import re
import subprocess
from pathlib import Path

import pytest

from conftest import BIN

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "tests/sim/README.md", *sorted((ROOT / "docs").glob("*.md"))]
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
EVERYWHERE = {"--config", "--runtime-dir", "--help"}


def help_of(*words):
    return subprocess.run([BIN / "bridgebell", "help", *words], capture_output=True, text=True, check=True, timeout=60).stdout


def options_of(command):
    """Long options by the list at the end of the command's help."""
    listed = help_of(command).split("\nOptions:\n")[1]
    return {found[0] for line in listed.splitlines() if (found := OPTION.search(line))}


@pytest.fixture(scope="module")
def commands():
    names = re.findall(r"^  ([a-z]+) ", help_of().split("Commands:\n")[1], re.MULTILINE)
    return {name: options_of(name) for name in names}


def synopsis():
    """For each command the options of its lines in the manual page."""
    done = subprocess.run(["mandoc", "-T", "ascii", "-O", "width=1000", ROOT / "docs/man/bridgebell.1"], capture_output=True,
                          text=True, check=True, timeout=60)
    text = re.sub(".\x08", "", done.stdout)  # overstruck letters
    known = {}
    for line in text.split("SYNOPSIS")[1].split("DESCRIPTION")[0].splitlines():
        words = line.split()
        if words[:1] != ["bridgebell"]:
            continue
        names = [words[1]] + [words[i + 1] for i, word in enumerate(words) if word == "|" and i == 2]
        for name in names:
            known.setdefault(name, set()).update(OPTION.findall(line))
    return known


def test_the_manual_page_has_every_option(commands):
    known = synopsis()
    assert set(known) == set(commands)
    for name, options in commands.items():
        assert known[name] - EVERYWHERE == options - EVERYWHERE - ({"--running"} if name == "replay" else set()), name


def test_usage_lines_name_options_that_are_there(commands):
    for name, options in commands.items():
        usage = help_of(name).splitlines()[0]
        assert set(OPTION.findall(usage)) <= options, usage


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_in_documents_are_commands(commands, document):
    for name, rest in re.findall(r"^ +(?:sudo )?bridgebell ([a-z]+)([^\n#]*)", document.read_text(), re.MULTILINE):
        assert name in commands, name
        assert set(OPTION.findall(re.sub(r'"[^"]*"', '""', rest))) <= commands[name], f"{name}{rest}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_in_documents_are_there(document):
    text = document.read_text()
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert "://" in link or (document.parent / link).exists(), link
    tree = [path for part in ("core", "proto", "conf", "master", "listener", "sender", "dispatcher", "tests", "scripts")
            for path in (ROOT / part).rglob("*.[ch]")]
    names = {str(path.relative_to(ROOT)) for path in tree} | {path.name for path in tree}
    for name in re.findall(r"`([\w/]+\.[ch])`", text):
        assert name in names, name
