"""What decides an agent's conduct, as one hash: an edited file makes another agent.

Only contents and names within a folder count, and no time and no place: a copy of an agent on another
machine is the same agent.
"""

from __future__ import annotations

import ast
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

MODEL_FILES = ("*.safetensors", "*.bin", "*.gguf", "*.json", "*.jinja", "*.model", "*.txt", "*.py", "*.tiktoken")
"""Of a model's folder: weights, tokenizer, chat template, settings and code."""

NO_CONDUCT = frozenset({"training_args.bin", "trainer_state.json", "all_results.json", "train_results.json"})
"""Files of a model's folder that trainers leave and no one reads."""

OWN_PACKAGE = Path(__file__).resolve().parents[1]
"""Named by its release, not by its files."""

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
    """``file`` and the modules below ``root`` that it imports, directly or through each other, by relative name.

    They are found by reading, not by importing, so that an import within a function counts as well.
    Modules of installed packages do not, except those of the package that ``file`` belongs to.
    """
    file, root = file.resolve(), root.resolve()
    installed = root.name in ("site-packages", "dist-packages")
    home = root / file.relative_to(root).parts[0] if installed and file.is_relative_to(root) else root
    found: dict[str, Path] = {}
    waiting = [file]
    while waiting:
        path = waiting.pop()
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
        if name in found or path.is_relative_to(OWN_PACKAGE):
            continue
        found[name] = path
        waiting += [each for each in _imported(path, root) if each == home or each.is_relative_to(home)]
    return found


def module_sources(name: str, file: Path) -> dict[str, Path]:
    """:func:`python_sources` of the module ``name`` in ``file``, from the folder where its full name begins."""
    depth = name.count(".") + (file.name == "__init__.py")
    return python_sources(file, file.resolve().parents[depth])


def command_files(argv: Sequence[str]) -> dict[str, Path]:
    """The files that a command names, by position, and the local modules that Python files among them import.

    An interpreter that is found on ``PATH`` does not count next to a file that it runs: its updates
    are not the agent's.
    """
    found: dict[str, Path] = {}
    for number, word in enumerate(argv[1:], 1):
        for text in dict.fromkeys((word, word.partition("=")[2])):
            path = Path(text)
            if text and path.is_file():
                sources = python_sources(path, path.parent) if path.suffix == ".py" else {path.name: path}
                found |= {f"{number}:{name}": source for name, source in sources.items()}
        if argv[number - 1] == "-m":
            found |= {
                f"{number}:{name}": source
                for module in _module_files(Path.cwd(), word.split("."))
                for name, source in python_sources(module, Path.cwd()).items()
            }
    program = shutil.which(argv[0])
    if program and ("/" in argv[0] or not found or _is_script(Path(program))):
        found["0"] = Path(program)
    return found


def _is_script(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == b"#!"


def _imported(path: Path, root: Path) -> Iterator[Path]:
    """Files below ``root`` that the module in ``path`` names in its imports."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError):
        return  # it cannot be imported either; its bytes count all the same
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
