"""Which code a command can reach, as one hash: what decides whether finished work of a cheap rule is redone.

A module is divided into the names that it binds: functions, classes, constants, imports. From the
command's `run` and `add_arguments` every name that the code can reach is followed, through imports
inside functions and `"module:name"` paths of registries too, and what was reached is hashed as
compiled without docstrings: comments, docstrings and layout count for nothing, nor does an edit of
a function that the command cannot reach. Compiling is C code, so a whole Snakefile takes a fraction
of a second; the price is that another minor version of Python counts as an edit of everything.

Where the code leaves open what is used, more is taken: a class counts as a whole, a name as every
reachable thing of that name. Imports only; no module is executed.
"""

from __future__ import annotations

import dis
import hashlib
import marshal
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.util import MAGIC_NUMBER, cache_from_source, source_hash
from pathlib import Path
from types import CodeType

from clipsieve.io.files import replacing

#: Where a command begins.
ENTRIES = ("run", "add_arguments")

#: Statements of a module that bind no name; they run whenever something of the module is used.
BODY = "<body>"

# flags in the head of a compiled module: valid while the hash of its source is the one that follows
_CHECKED_BY_HASH = (0b11).to_bytes(4, "little")

_LAZY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_STORES = {dis.opmap["STORE_NAME"], dis.opmap["STORE_GLOBAL"]}
_ENDS = {dis.opmap[name] for name in ("POP_TOP", "STORE_SUBSCR", "STORE_ATTR", "DELETE_NAME")}
_NAMED = set(dis.hasname)
_EXTENDED = dis.opmap["EXTENDED_ARG"]
_RESUME = dis.opmap["RESUME"]
_NOP = bytes([dis.opmap["NOP"]])
_CACHE = dis.opmap.get("CACHE", -1)
_IMPORT, _FROM, _CONST = (dis.opmap[n] for n in ("IMPORT_NAME", "IMPORT_FROM", "LOAD_CONST"))
# the argument of these holds more than the position of the name
_SHIFTED = {dis.opmap["LOAD_ATTR"]} if sys.version_info >= (3, 12) else set()


#: Functions that import a module by a name that is worked out.
_RESOLVERS = {"import_module", "resolve_name"}
#: A module and a name that it binds; no name where the module itself is meant.
Target = tuple[str, str]


@dataclass
class Unit:
    """What binds one name: its code for the hash, and the names and texts that occur in it."""

    code: list[object] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)

    def add_constant(self, value: object) -> None:
        """Take a constant in: code of functions and classes with all that is inside it."""
        self.code.append(value)
        self.texts.update(_texts(value))
        for code in _codes(value):
            self.names.update(code.co_names)
            self.texts.update(_texts(code.co_consts))

    @cached_property
    def digest(self) -> str:
        """Hash of the code."""
        return hashlib.sha256("\0".join(map(_written, self.code)).encode()).hexdigest()

    @cached_property
    def lazy(self) -> set[str]:
        """Texts of the form `module:name`."""
        return {text for text in self.texts if ":" in text and _LAZY.fullmatch(text)}


@dataclass
class Module:
    """One module: its units by the name that they bind, and where imported names come from."""

    units: dict[str, Unit]
    # name -> (module, name in it), or (module, None) where the module itself is bound
    imports: dict[str, tuple[str, str | None]]


class Package:
    """A package's modules, compiled when they are first asked for and kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self.paths: dict[str, str] = {}
        self.data: dict[str, list[str]] = {}
        for place, folders, files in os.walk(folder):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            dotted = [self.name, *Path(place).relative_to(folder).parts]
            for file in sorted(files):
                stem, ending = os.path.splitext(file)
                if ending == ".py":
                    path = dotted if stem == "__init__" else [*dotted, stem]
                    self.paths[".".join(path)] = os.path.join(place, file)
                elif "__init__.py" not in files and dotted[-1] != "data":
                    self.data.setdefault(dotted[-1], []).append(os.path.join(place, file))
        self._modules: dict[str, Module] = {}
        self._resolved: dict[tuple[str, str], Target | None] = {}
        self._used: dict[Target, list[Target]] = {}
        # and what the lazy paths in a unit lead to
        self._leads: dict[Target, set[Target]] = {}

    def module(self, name: str) -> Module:
        """Return a module of the package."""
        if name not in self._modules:
            self._modules[name] = _divided(self.paths[name])
        return self._modules[name]

    def resolve(self, module: str, name: str) -> Target | None:
        """Follow a name of a module to where it is bound: a unit, a whole module, or None (elsewhere)."""
        key = (module, name)
        if key not in self._resolved:
            self._resolved[key] = None  # what imports itself is bound nowhere
            self._resolved[key] = self._followed(module, name)
        return self._resolved[key]

    def _followed(self, module: str, name: str) -> Target | None:
        found = self.module(module)
        if name in found.imports:
            source, inner = found.imports[name]
            if source not in self.paths:
                return None
            return (source, "") if inner is None else self.resolve(source, inner)
        if name in found.units:
            return module, name
        return (f"{module}.{name}", "") if f"{module}.{name}" in self.paths else None

    def reached(self, module: str, entries: tuple[str, ...] = ENTRIES) -> dict[str, Unit]:
        """Return every unit that can be reached from names of a module, by `module:name`."""
        found: dict[Target, Unit] = {}
        waiting: list[Target] = [(module, name) for name in entries]
        # by package: what its lazy paths lead to, and whether something in it imports by name
        lazy: dict[str, set[Target]] = {}
        resolving: set[str] = set()
        while waiting:
            target = waiting.pop()
            units = self.module(target[0]).units
            if target in found or target[1] not in units:
                continue
            unit = found[target] = units[target[1]]
            package = self._package_of(target[0])
            if target not in self._used:
                self._used[target] = list(self._uses(target[0], unit))
                named = (self._lazily(package, text) for text in unit.lazy)
                self._leads[target] = set(filter(None, named))
            waiting += self._used[target]
            leads = lazy.setdefault(package, set())
            if package not in resolving and not unit.names.isdisjoint(_RESOLVERS):
                resolving.add(package)
                waiting += leads
            fresh = self._leads[target] - leads
            leads |= fresh
            if package in resolving:
                waiting += fresh
        return {":".join(target): unit for target, unit in found.items()}

    def _package_of(self, module: str) -> str:
        """The package that a module lies in; a package is its own."""
        is_package = self.paths[module].endswith("__init__.py")
        return module if is_package else module.rpartition(".")[0]

    def _uses(self, module: str, unit: Unit) -> Iterator[Target]:
        """Names of this package that a unit can use."""
        yield module, BODY
        aliases = {name for name in unit.names if name in self.paths}
        waiting = {module, *aliases}
        while waiting:
            place = waiting.pop()
            known = self.module(place)
            for name in unit.names:
                if name in known.units or f"{place}.{name}" in self.paths:
                    target = self.resolve(place, name)
                    if target is not None and target[1]:
                        yield target
                    elif target is not None and target[0] not in aliases:
                        aliases.add(target[0])
                        waiting.add(target[0])

    def _lazily(self, package: str, text: str) -> Target | None:
        """The unit of a lazy path: written in full, or from the package on in which it stands."""
        module, _, name = text.partition(":")
        for start in (module, f"{package}.{module}"):
            if start in self.paths:
                target = self.resolve(start, name)
                return target if target is not None and target[1] else None
        return None

    def hash_of(self, module: str, entries: tuple[str, ...] = ENTRIES) -> str:
        """Return the hash of all that can be reached from names of a module, data files too.

        A data file counts where its folder, which is not a package, is named in the code.
        """
        if module not in self.paths:
            raise ValueError(f"there is no module {module}")
        units = self.reached(module, entries)
        digest = hashlib.sha256()
        for key in sorted(units):
            digest.update(f"{key}\0{units[key].digest}\0".encode())
        named = set().union(*(unit.texts for unit in units.values())) & self.data.keys()
        for file in [file for folder in sorted(named) for file in self.data[folder]]:
            digest.update(f"{os.path.relpath(file, self.folder)}\0".encode())
            digest.update(Path(file).read_bytes())
        return digest.hexdigest()[:16]


@cache
def _installed() -> Package:
    return Package(Path(__file__).parents[1])


@cache
def code_of(command: str) -> str:
    """Return the hash of the code that a command of this package can reach.

    Parameters
    ----------
    command
        Name of the command, or of the rule that calls it (`rank_heads`).

    Returns
    -------
    str
        16 hexadecimal digits; the same in every folder and on every machine with the same minor
        version of Python.

    Raises
    ------
    ValueError
        There is no such command.
    """
    return _installed().hash_of(f"clipsieve.cli.{command.replace('-', '_')}")


def _compiled(path: str) -> CodeType:
    """Compile a module without docstrings, or take it from where `python -OO` would keep it."""
    source = Path(path).read_bytes()
    head = MAGIC_NUMBER + _CHECKED_BY_HASH + source_hash(source)
    kept = Path(cache_from_source(path, optimization=2))
    with suppress(OSError, EOFError, ValueError, TypeError):
        data = kept.read_bytes()
        if data.startswith(head):
            code: CodeType = marshal.loads(data[len(head) :])
            return code
    code = compile(source, path, "exec", dont_inherit=True, optimize=2)
    if not sys.dont_write_bytecode:
        with suppress(OSError), replacing(kept) as temporary:
            temporary.write_bytes(head + marshal.dumps(code))
    return code


def _divided(path: str) -> Module:
    """Compile a module without docstrings, and divide it into what binds each name."""
    code = _compiled(path)
    module = Module({}, {})
    unit, source, bound = Unit(), "", ""
    inner: str | None = None
    extended = 0
    for position in range(0, len(code.co_code), 2):
        op, argument = code.co_code[position], code.co_code[position + 1] | extended
        extended = argument << 8 if op == _EXTENDED else 0
        if op in (_EXTENDED, _CACHE):
            continue
        if op in _STORES:
            bound, before = code.co_names[argument], bound
            if source:
                _bind_import(module, bound, source, inner)
            elif not unit.code and before:  # the second of two names that share a value
                unit.names.add(before)
            _merge(module, bound, unit)
            # `from x import a, b` goes on with b
            unit, inner = Unit(), None
            continue
        if op == _IMPORT:
            source, inner = code.co_names[argument], None
            unit.code.append(f"import {source}")
        elif op == _FROM:
            inner = code.co_names[argument]
            unit.code.append(f"from {source} import {inner}")
        elif op == _CONST:
            unit.add_constant(code.co_consts[argument])
        elif op in _NAMED:
            name = code.co_names[argument >> 1 if op in _SHIFTED else argument]
            unit.names.add(name)
            unit.code.append(f"{op} {name}")
        elif not source:
            unit.code.append(f"{op} {argument}")
        if op in _ENDS:
            if not source and "__annotations__" not in unit.names:
                _merge(module, BODY, unit)
            unit, source = Unit(), ""
        elif source and op not in (_IMPORT, _FROM, _CONST):
            source = ""
    _merge(module, BODY, unit)
    return module


def _bind_import(module: Module, name: str, source: str, inner: str | None) -> None:
    if inner is not None and not source.endswith(f".{inner}"):
        module.imports[name] = (source, inner)
    elif inner is not None:  # `import a.b as c` takes b out of a
        module.imports[name] = (source, None)
    else:
        module.imports[name] = (source if name != source.split(".")[0] else name, None)


def _merge(module: Module, name: str, unit: Unit) -> None:
    """Add to what binds a name; a name may be bound on several ways through the module."""
    whole = module.units.setdefault(name, Unit())
    whole.code += unit.code
    whole.names |= unit.names
    whole.texts |= unit.texts


def _codes(value: object) -> Iterator[CodeType]:
    """A code object and those inside it."""
    if isinstance(value, CodeType):
        yield value
        for constant in value.co_consts:
            yield from _codes(constant)


def _texts(constants: object) -> Iterator[str]:
    """Texts among constants, those in tuples too."""
    if isinstance(constants, str):
        yield constants
    elif isinstance(constants, tuple | frozenset):
        for constant in constants:
            yield from _texts(constant)


def _written(value: object) -> str:
    """A constant as text that contains everything except its position in the file."""
    if isinstance(value, CodeType):
        head = (
            value.co_name, value.co_argcount, value.co_posonlyargcount, value.co_kwonlyargcount,
            value.co_flags, value.co_names, value.co_varnames, value.co_freevars,
            value.co_cellvars, *_instructions(value),
        )  # fmt: skip
        return f"{head}{[_written(constant) for constant in value.co_consts]}"
    if isinstance(value, tuple):
        return f"({','.join(map(_written, value))})"
    if isinstance(value, frozenset):  # in another order in each process
        return f"{{{','.join(sorted(map(_written, value)))}}}"
    return repr(value)


def _instructions(code: CodeType) -> tuple[str, list[int]]:
    """The instructions and handlers of a function, without the NOP that a removed docstring leaves."""
    text, table = code.co_code, code.co_exceptiontable
    start = end = 2 + 2 * next(i for i, op in enumerate(text[::2]) if op == _RESUME)
    while text[end : end + 1] == _NOP:
        end += 2
    numbers = [0]
    for byte in table:  # six bits a byte; 64 says that more follow
        numbers[-1] = numbers[-1] << 6 | byte & 63
        if not byte & 64:
            numbers.append(0)
    # start, length, target and depth of each handler: start and target move
    moved = [n - (i % 2 == 0) * (end - start) // 2 for i, n in enumerate(numbers[:-1])]
    return (text[:start] + text[end:]).hex(), moved
