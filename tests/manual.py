"""The commands and snippets of README and manual."""

import re
import shlex
import textwrap
from pathlib import Path
from typing import NamedTuple

from tiny_job import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^( *)```(\S*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
PROGRAMS = ("cardioemu", "python", "make", "srun", "source", "mlflow", "curl")


class Block(NamedTuple):
    """A fenced block of a page: its language, empty for commands and output, and its text."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def name(self):
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks():
    """All fenced blocks of all pages."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in BLOCK.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            yield Block(page, line, found[2], textwrap.dedent(found[3]))


def snippets():
    """Those in Python."""
    return [block for block in blocks() if block.language == "python"]


def commands():
    """Where each command stands, and its words; what is output or a diagram is none."""
    for block in blocks():
        if block.language == "":
            for line in block.text.replace("\\\n", " ").splitlines():
                line = line.removeprefix("$ ")
                if line.split(" ")[0] in PROGRAMS:
                    yield block.name, shlex.split(line, comments=True)
