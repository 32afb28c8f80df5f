"""docs/write-a-job.md, followed to the letter: its files, its commands, what it says they answer; only the port is a
free one, and the browser is one without a screen.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workplace import PATIENCE, REPOSITORY, Workplace

from worker.sandbox import give_consent

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = (REPOSITORY / "docs" / "write-a-job.md").read_text(encoding="utf-8")
#: A block, and the paragraph before it, which names the file that a block of code is.
BLOCK = re.compile(r"(?P<before>[^\n]*(?:\n[^\n]+)*)\n\n```(?P<kind>console|python|toml)\n(?P<text>.*?)```", re.DOTALL)
FILE = re.compile(r"`((?:jobs/)?\w+\.(?:py|toml))`")


@dataclass(frozen=True)
class Command:
    """A line to type, and what the document says that it answers."""

    line: str
    answers: list[str]


def commands(block: str) -> list[Command]:
    """The commands of a console block."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [Command(line, answers) for line, *answers in (part.splitlines() for part in parts)]


@contextmanager
def provider() -> Iterator[str]:
    """The document's provider on a free port; answers the port."""
    found = re.search(r"^\$ python (-m worker\.sandbox .*)$", TEXT, re.MULTILINE)
    assert found is not None
    command = [sys.executable, *found[1].replace("8899", "0").split(), "--with-parent"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline().removeprefix("READY "))["base_url"].rpartition(":")[2]
        finally:
            process.terminate()


def shown(answer: str, output: str) -> bool:
    """Whether the output has a line like this; `…` stands for anything, and blanks count as one."""
    pattern = r"\s+".join(re.escape(word).replace("…", ".*") for word in answer.split())
    return re.search(pattern, output) is not None


def type_in(command: Command, place: Workplace) -> str:
    """Type a line at the shell; answers all that it has said."""
    if command.line.startswith("worker enroll"):
        _, _, integration, account = command.line.split()
        done = place.paste(account, lambda url: give_consent(url, account), integration=integration)
        return done.out + done.err
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        command.line,
        shell=True,
        cwd=place.folder,
        env=place.environment | {"PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=PATIENCE)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # the shell, and what it has started
            raise
    assert process.returncode == 0, f"{command.line} answered {process.returncode}\n{said}"
    return said


def test_followed_to_the_letter_the_document_leads_to_a_tested_job(tmp_path: Path) -> None:
    """Each block in its turn, and each answer as it is printed there."""
    place = Workplace(tmp_path)
    followed = 0
    with provider() as port:
        for block in BLOCK.finditer(TEXT):
            text = block["text"].replace("8899", port)
            if block["kind"] != "console":
                name = FILE.findall(block["before"])[-1]
                with (place.folder / name).open("a" if block["kind"] == "toml" else "w", encoding="utf-8") as file:
                    file.write(text)
                continue
            for command in commands(text):
                if command.line.startswith(("pip ", "python -m worker.sandbox")):
                    continue  # installed, and running
                said = type_in(command, place)
                if command.line.endswith("cd sync"):
                    place = Workplace(tmp_path / "sync")
                for answer in command.answers:
                    assert shown(answer, said), f"{command.line} did not answer {answer!r} but\n{said}"
                followed += 1
    assert followed >= 12
