"""Runs a program with small arguments: `tiny_study.py TINY_FILE PROGRAM ARGUMENTS`, as `python` of a study."""

import ast
import os
import sys
from pathlib import Path

import yaml


def of_commands(tiny):
    """Words that a command has -> the arguments that it takes then."""
    return {tuple(words.split()): values for words, values in tiny.items() if isinstance(values, list)}


def shrink(program, arguments, tiny):
    """Replaces arguments of a program: settings by name, all others together."""
    for (name, *words), values in of_commands(tiny).items():
        if name == program and set(words) <= set(arguments):
            names = {value.partition("=")[0] for value in values if "=" in value}
            arguments = [a for a in arguments if names and a.partition("=")[0] not in names] + values
    return arguments


def set_constants(script, values):
    """Gives constants at the top of a script other values, each in a line of its own below the old one."""
    source = script.read_text(encoding="utf-8")
    lines, tree = source.splitlines(), ast.parse(source)
    ends = {
        name.id: node.end_lineno
        for node in tree.body
        if isinstance(node, ast.Assign)
        for name in ast.walk(node.targets[0])
        if isinstance(name, ast.Name)
    }
    for name, value in values.items():
        lines[ends[name] - 1] += f"\n{name} = {value!r}"
    script.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    file, program, *arguments = sys.argv[1:]
    tiny = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    os.execv(sys.executable, [sys.executable, program, *shrink(program, arguments, tiny)])
