"""What runs in the sandbox: takes a student's code over, then answers one question a line.

``sandbox.py`` passes this file's text to Python; it is never imported there, and needs the standard library only.
It can lie about nothing that counts: it is told inputs, and what is right never leaves the grader.

First line: ``{"cells": [...], "limits": {...}}``. Every other line: ``{"function": ..., "arguments": [...]}``, and the
answer is ``{"answer": ...}`` or ``{"error": NAME}``.
"""

import ast
import builtins
import json
import os
import resource
import sys
import types


def main() -> None:
    """Serve until the pipe ends."""
    questions = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):  # what the student prints is nobody's business, however much it is
        os.dup2(nowhere, descriptor)
    first = json.loads(questions.readline())
    confine(first["limits"])
    answers.write(b"ready\n")
    answers.flush()
    sys.path.insert(0, "/packages")
    names = take_over(first["cells"])
    answers.write(b"taken over\n")
    answers.flush()
    for line in questions:
        question = json.loads(line)
        answers.write(reply(names, question) + b"\n")
        answers.flush()


def confine(limits: dict) -> None:
    """Give up root where there is any, then what the kernel lets no process raise again."""
    if os.getuid() == 0 and limits["user"]:
        os.setgroups([])
        os.setresgid(limits["user"], limits["user"], limits["user"])
        os.setresuid(limits["user"], limits["user"], limits["user"])
    for kind, value in (
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_CPU, limits["cpu_s"]),
        (resource.RLIMIT_NPROC, limits["processes"]),
        (resource.RLIMIT_FSIZE, limits["disk_bytes"]),
        (resource.RLIMIT_NOFILE, 128),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (value, value))


def take_over(cells: list) -> dict:
    """Run what a submission defines, statement by statement; what fails is left out and stays unanswered."""
    names: dict = {"__name__": "submission"}
    for cell in cells:
        try:
            statements = ast.parse(cell).body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue  # its functions stay missing, which the feedback says
        for statement in statements:
            if is_definition(statement):
                try:
                    exec(compile(ast.Module([statement], []), "submission", "exec"), names)
                except Exception:
                    continue  # likewise: what comes after it may work
    return names


def is_definition(node: ast.stmt) -> bool:
    """Imports, functions, classes and CONSTANTS; whatever else stands in a notebook is not run here."""
    if isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)):
        return True
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return isinstance(node, (ast.Assign, ast.AnnAssign)) and all(map(_is_constant, targets))


def _is_constant(target) -> bool:
    """Whether it is a name in capitals, or several."""
    if isinstance(target, (ast.Tuple, ast.List)):
        return all(map(_is_constant, target.elts))
    if isinstance(target, ast.Starred):
        return _is_constant(target.value)
    return isinstance(target, ast.Name) and target.id.isupper()


def reply(names: dict, question: dict) -> bytes:
    """One line of JSON."""
    function = names.get(question["function"])
    if not callable(function):
        return json.dumps({"error": "missing"}).encode()
    try:
        answer = function(*[given(each) for each in question["arguments"]])
        return json.dumps({"answer": plain(answer)}).encode()
    except BaseException as error:  # SystemExit too: the next question is another one
        name = type(error).__name__
        # A name of the student's own could carry what was asked out to the feedback.
        return json.dumps({"error": name if hasattr(builtins, name) else "an error of its own"}).encode()


def given(value):
    """An argument as the student's function expects it: arrays and objects are spelled as tagged lists."""
    if isinstance(value, dict):
        if value.keys() == {"$array"}:
            import numpy

            return numpy.asarray(value["$array"])
        if value.keys() == {"$object"}:
            return types.SimpleNamespace(**{key: given(each) for key, each in value["$object"].items()})
        return {key: given(each) for key, each in value.items()}
    return [given(each) for each in value] if isinstance(value, list) else value


def plain(value):
    """An answer in JSON's types: arrays and tuples are lists, numpy's numbers are numbers, sets are sorted."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (set, frozenset)):
        value = sorted(value)
    return [plain(each) for each in value] if isinstance(value, (list, tuple)) else value


main()
