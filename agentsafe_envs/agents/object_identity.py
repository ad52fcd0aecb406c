"""What decides the conduct of a Python object in memory, as one hash: an edited function is another agent.

Compiled code is looked at and not the text in a file, which may have been edited since it was imported.
Functions and classes of the user's are followed to what they call and to the values that they use. Those of
installed packages are named. What an object reads when it acts, a file or a service, is not seen.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import importlib.util
import pickle
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from agentsafe_envs.agents.identity import OWN_PACKAGE, identity, module_sources

_PLAIN = (type(None), bool, int, float, complex, str, bytes, Path, type(Ellipsis), re.Pattern)

_INSTALLED = (OWN_PACKAGE, *(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")))
_PACKAGES = ("site-packages", "dist-packages")

_NO_CONDUCT = frozenset({"__dict__", "__weakref__", "__doc__", "__module__", "__firstlineno__", "_abc_impl"})
"""Of a class's attributes."""


def object_identity(thing: Any) -> str | None:
    """Hash of the code and the values that ``thing`` consists of.

    Returns:
        A hex digest, the same in every process of one release of Python; None where some value can be neither
        followed nor pickled, so that nothing is certain.
    """
    return _digest(thing, {})


def is_installed(thing: Any) -> bool:
    """Whether a function or class comes with Python or a package, this one included."""
    module = sys.modules.get(getattr(thing, "__module__", None) or "")
    if module is None or module.__name__ == "__main__":
        return False
    return _file_is_installed(getattr(module, "__file__", None))


class _UnreadableError(Exception):
    """A value that can be neither followed nor pickled."""


def _digest(thing: Any, seen: dict[int, Any]) -> str | None:
    found = hashlib.sha256()
    try:
        for part in _parts(thing, seen):
            found.update(f"{len(part)} {part}".encode("utf-8", "surrogatepass"))
    except _UnreadableError:
        return None
    return found.hexdigest()


def _parts(thing: Any, seen: dict[int, Any]) -> Iterator[str]:
    """Texts that tell ``thing`` from others; ``seen`` keeps every object alive, so that no id is used twice."""
    if isinstance(thing, _PLAIN):
        yield f"{type(thing).__name__} {thing!r}"
        return
    if not isinstance(thing, tuple | frozenset):  # equal constants may or may not be one object
        if id(thing) in seen:
            yield f"number {list(seen).index(id(thing))}"
            return
        seen[id(thing)] = thing
    yield type(thing).__name__
    match thing:
        case list() | tuple():
            yield from _each(thing, seen)
        case dict():
            yield from _each((each for pair in thing.items() for each in pair), seen)
        case set() | frozenset():
            yield from sorted(_digest(each, {}) or _unreadable(each) for each in thing)
        case functools.partial():
            yield from _each((thing.func, thing.args, thing.keywords), seen)
        case MethodType():
            yield from _each((thing.__func__, thing.__self__), seen)
        case staticmethod() | classmethod():
            yield from _parts(thing.__func__, seen)
        case property():
            yield from _each((thing.fget, thing.fset), seen)
        case ModuleType():
            yield thing.__name__
        case FunctionType() | type() if is_installed(thing):
            yield f"{thing.__module__}.{thing.__qualname__}"
        case FunctionType():
            yield from _function(thing, seen)
        case type():
            kept = {name: value for name, value in sorted(vars(thing).items()) if name not in _NO_CONDUCT}
            yield from _each((thing.__bases__, kept), seen)
        case _ if hasattr(thing, "__wrapped__"):
            yield from _parts(thing.__wrapped__, seen)
        case _ if not is_installed(type(thing)) and type(thing).__reduce__ is object.__reduce__:
            slots = (name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ()))
            held = {name: getattr(thing, name) for name in slots if hasattr(thing, name)}
            yield from _each((type(thing), held | getattr(thing, "__dict__", {})), seen)
        case _:
            yield _pickled(thing, seen)


def _each(things: Iterable[Any], seen: dict[int, Any]) -> Iterator[str]:
    for thing in things:
        yield from _parts(thing, seen)


def _function(function: FunctionType, seen: dict[int, Any]) -> Iterator[str]:
    """Its code, its defaults, what it encloses, and the globals that it names."""
    codes = list(_codes(function.__code__))
    names = {name for code in codes for name in code.co_names}
    for code in codes:
        yield f"{code.co_code!r} {code.co_exceptiontable!r} {code.co_names} {code.co_varnames} {code.co_flags}"
        yield from _each((each for each in code.co_consts if not isinstance(each, CodeType)), seen)
        yield from _imports(code)
    yield from _each((function.__defaults__, function.__kwdefaults__), seen)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # not filled yet
            continue
        yield name
        yield from _parts(value, seen)
    for name in sorted(names & function.__globals__.keys()):
        yield name
        yield from _used(function.__globals__[name], names, seen)


def _used(value: Any, names: set[str], seen: dict[int, Any]) -> Iterator[str]:
    """A global value; of a module of the user's, what the function may mean there."""
    yield from _parts(value, seen)
    if isinstance(value, ModuleType) and not _file_is_installed(getattr(value, "__file__", None)):
        for name in sorted(names & vars(value).keys()):
            inner = vars(value)[name]
            if id(inner) not in seen:
                yield from _used(inner, names, seen)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _codes(inner)


def _imports(code: CodeType) -> Iterator[str]:
    """Sources of the user's modules that are imported when the code runs."""
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME" and instruction.argval:
            try:
                spec = importlib.util.find_spec(instruction.argval.partition(".")[0])
            except (ImportError, ValueError):  # for instance of __main__, which has none
                continue
            if spec is not None and spec.origin and not _file_is_installed(spec.origin):
                yield identity(module_sources(spec.name, Path(spec.origin)))


def _file_is_installed(file: str | None) -> bool:
    """Modules without a file are built in."""
    if file is None:
        return True
    path = Path(file).resolve()
    return any(name in path.parts for name in _PACKAGES) or any(path.is_relative_to(root) for root in _INSTALLED)


def _pickled(thing: Any, seen: dict[int, Any]) -> str:
    """Hash of a pickle, in which functions and classes of the user's stand by their own hashes."""
    found = hashlib.sha256()

    class Writer:
        def write(self, data: Any) -> int:
            found.update(data)
            return len(data)

    class Pickler(pickle.Pickler):
        def reducer_override(self, each: Any) -> Any:
            if isinstance(each, FunctionType | type) and not is_installed(each):
                return str, (_digest(each, seen) or _unreadable(each),)
            return NotImplemented

    try:
        Pickler(Writer(), protocol=5).dump(thing)
    except Exception as error:  # foreign objects raise what they like
        raise _UnreadableError(repr(type(thing))) from error
    return found.hexdigest()


def _unreadable(thing: Any) -> str:
    raise _UnreadableError(repr(type(thing)))
