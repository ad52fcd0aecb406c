"""What decides an agent's conduct, as one hash: an edited file makes another agent.

Only contents and names within a folder count, and no time and no place: a copy of an agent on another
machine is the same agent.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import shlex
import shutil
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agentsafe_envs.agents.written_files import python_expressions_written, script_words_written

MODEL_FILES = ("*.safetensors", "*.bin", "*.gguf", "*.json", "*.jinja", "*.model", "*.txt", "*.py", "*.tiktoken")
"""Of a model's folder: weights, tokenizer, chat template, settings and code."""

NO_CONDUCT = frozenset({"training_args.bin", "trainer_state.json", "all_results.json", "train_results.json"})
"""Files of a model's folder that trainers leave and no one reads."""

OWN_PACKAGE = Path(__file__).resolve().parents[1]
"""Named by its release, not by its files."""

MOST_FILES = 500
"""Files of one program that are followed."""

SEARCHED_BYTES = 1 << 20
"""Of a file are searched for names of further files; all of it is hashed."""

MOST_PARTS = 6
"""Strings that are tried as one path."""

LEFT_OUT_SUFFIXES = ("", ".py", ".sh", ".js", ".mjs", ".cjs", ".json")
"""What a name of another file may leave out."""

_WRITTEN = frozenset({".lock", ".log", ".out", ".pid", ".tmp"})
_WORD = re.compile(r"[\w./@+-]{1,200}")

_hashes: dict[tuple[str, int, int], str] = {}


def identity(files: Mapping[str, Path], **settings: Any) -> str:
    """One hash of files, by the names that are given for them, and of settings in plain JSON types."""
    contents = {name: file_sha256(path) for name, path in sorted(files.items())}
    words = json.dumps({"files": contents, "settings": settings}, sort_keys=True)
    return hashlib.sha256(words.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Of a file's content; read once for each size and time of change."""
    there = path.stat()
    key = (str(path.resolve()), there.st_size, there.st_mtime_ns)
    if key not in _hashes:
        with path.open("rb") as stream:
            _hashes[key] = hashlib.file_digest(stream, "sha256").hexdigest()
    return _hashes[key]


def model_files(folder: Path, prefix: str = "") -> dict[str, Path]:
    """The files of a model's folder that decide what it does, by name; none where there is no folder."""
    found = {path.name: path for pattern in MODEL_FILES for path in folder.glob(pattern) if path.is_file()}
    return {f"{prefix}{name}": path for name, path in found.items() if name not in NO_CONDUCT}


def python_sources(file: Path, root: Path) -> dict[str, Path]:
    """``file`` and what it imports or names of the files below ``root``, directly or through each other.

    They are found by reading, not by running: imports of Python, also those within a function, and in every text
    each word that is the path of a file, seen from the folder of that text, from ``root`` or from the working
    folder. Modules of installed packages do not count, except those of the package that ``file`` belongs to; nor
    does a file that a text writes to, see :mod:`agentsafe_envs.agents.written_files`.
    The walk reads at most :data:`MOST_FILES` texts of at most :data:`SEARCHED_BYTES` each.

    Returns:
        Files by their names relative to ``root``, or to the working folder.
    """
    file, root, here = file.resolve(), root.resolve(), Path.cwd()
    installed = root.name in ("site-packages", "dist-packages")
    home = root / file.relative_to(root).parts[0] if installed and file.is_relative_to(root) else root
    homes = [each for each in (home, here) if each != Path(each.anchor)]
    found: dict[str, Path] = {}
    waiting = deque([file])
    while waiting and len(found) < MOST_FILES:
        path = waiting.popleft()
        name = next(
            (path.relative_to(each).as_posix() for each in (root, here) if path.is_relative_to(each)), path.name
        )
        if name in found or path.is_relative_to(OWN_PACKAGE):
            continue
        found[name] = path
        followed = (each.resolve() for each in _followed(path, root, here))
        waiting.extend(each for each in followed if each == home or any(map(each.is_relative_to, homes)))
    return found


def module_sources(name: str, file: Path) -> dict[str, Path]:
    """:func:`python_sources` of the module ``name`` in ``file``, from the folder where its full name begins."""
    depth = name.count(".") + (file.name == "__init__.py")
    return python_sources(file, file.resolve().parents[depth])


def command_files(argv: Sequence[str]) -> dict[str, Path]:
    """The files that a command names, by position, and what they import or name; see :func:`python_sources`.

    A word with spaces is a text of its own, as after ``bash -c``. An interpreter that is found on ``PATH`` does not
    count next to a file that it runs: its updates are not the agent's.
    """
    found: dict[str, Path] = {}
    here = Path.cwd()
    for number, word in enumerate(argv[1:], 1):
        named = [(path, path.parent) for text in _pieces(word) if (path := _file(here, text))]
        if " " in word:
            named += [(path, here) for path in _named(word, [here])]
            written = _all_named(script_words_written(word), [here])
            named = [(path, root) for path, root in named if path not in written]
        if argv[number - 1] == "-m":
            named += [(module, here) for module in _module_files(here, word.split("."))]
        for path, root in named:
            found |= {f"{number}:{name}": source for name, source in python_sources(path, root).items()}
    program = shutil.which(argv[0])
    if program and ("/" in argv[0] or not found or _is_script(Path(program))):
        found["0"] = Path(program)
        if Path(program).resolve().is_relative_to(here):
            others = python_sources(Path(program), Path(program).parent).items()
            found |= {f"0:{name}": source for name, source in others if source != Path(program).resolve()}
    return found


def _is_script(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == b"#!"


def _followed(path: Path, root: Path, here: Path) -> Iterator[Path]:
    """What the text in ``path`` imports or names; nothing where it is no text."""
    with path.open("rb") as stream:
        content = stream.read(SEARCHED_BYTES)
    if b"\0" in content:
        return
    folders = list(dict.fromkeys((path.parent, root, here)))
    texts: Iterable[str]
    if path.suffix == ".py":
        try:
            tree = ast.parse(content)
        except (SyntaxError, ValueError, RecursionError):
            return  # it cannot be imported either; its bytes count all the same
        yield from _imported(tree, path, root)
        texts = _strings(tree)
        written = _all_named((text for each in python_expressions_written(tree) for text in _strings(each)), folders)
    else:
        texts = [content.decode(errors="replace")]
        written = _all_named(script_words_written(texts[0], path.suffix), folders)
    yield from (each for text in texts for each in _named(text, folders) if each not in written)


def _strings(tree: ast.AST) -> Iterator[str]:
    """Strings of a Python program, and those that it joins to paths."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.Call | ast.BinOp):
            parts = [each.value for each in ast.walk(node) if isinstance(each, ast.Constant)]
            texts = [each for each in parts if isinstance(each, str)]
            if 1 < len(texts) <= MOST_PARTS:
                yield from ("/".join(texts), "/".join(reversed(texts)))  # a / b / c is read from its end


def _pieces(word: str) -> list[str]:
    """A word of a command, what follows an equals sign in it, and the words of the command that it is itself."""
    try:
        inner = shlex.split(word)
    except ValueError:
        inner = []
    return list(dict.fromkeys((word, word.partition("=")[2], *inner)))


def _all_named(texts: Iterable[str], folders: Sequence[Path]) -> set[Path]:
    return {path for text in texts for path in _named(text, folders)}


def _named(text: str, folders: Sequence[Path]) -> Iterator[Path]:
    """Files that words of ``text`` are the paths of, with one of :data:`LEFT_OUT_SUFFIXES` or as a module's name."""
    for word in dict.fromkeys(_WORD.findall(text)):
        for name in dict.fromkeys((word, word.strip("./:"), word.replace(".", "/"))):
            for folder in folders:
                yield from (path for suffix in LEFT_OUT_SUFFIXES if (path := _file(folder, f"{name}{suffix}")))


def _file(folder: Path, name: str) -> Path | None:
    """The file of that name, unless a run would write to it."""
    path = folder / name
    try:
        return path if name and path.suffix not in _WRITTEN and path.is_file() else None
    except (OSError, ValueError):  # too long, or with a character that no name has
        return None


def _imported(tree: ast.AST, path: Path, root: Path) -> Iterator[Path]:
    """Files below ``root`` that the module ``tree`` in ``path`` names in its imports."""
    package = list(path.relative_to(root).parts[:-1]) if path.is_relative_to(root) else []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _module_files(root, alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            base = [*base, *(node.module.split(".") if node.module else [])]
            yield from _module_files(root, base)
            for alias in node.names:
                yield from _module_files(root, [*base, alias.name])


def _module_files(root: Path, names: Sequence[str]) -> Iterable[Path]:
    """The module of that name and the packages around it, as far as they are files below ``root``."""
    for length in range(1, len(names) + 1):
        place = root.joinpath(*names[:length])
        for path in (place.with_suffix(".py"), place / "__init__.py", place / "__main__.py"):
            if path.is_file():
                yield path
