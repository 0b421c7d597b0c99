"""The command line: `clipsieve <command>`, one module per command; only the called one is imported."""

from __future__ import annotations

import argparse
import ast
import atexit
import errno
import gc
import importlib
import logging
import os
import pkgutil
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import takewhile
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from clipsieve import __version__
from clipsieve.errors import UserError

log = logging.getLogger("clipsieve")


def verbs() -> dict[str, str]:
    """Return every command with its line of help, read from the modules' text without importing them."""
    found = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        source = Path(__file__).parent / f"{module.name}.py"
        for node in ast.parse(source.read_text(encoding="utf-8")).body:
            names = [t.id for t in getattr(node, "targets", []) if isinstance(t, ast.Name)]
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names = [node.target.id]
            if "HELP" in names and isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
                found[module.name.replace("_", "-")] = ast.literal_eval(node.value)
    return found


def main(argv: list[str] | None = None) -> int:
    """Run one command; return its status (0 but for `detect`), 2 after a mistake, 130 after Ctrl-C."""
    arguments = sys.argv[1:] if argv is None else argv
    known = verbs()
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(_overview(known))
        return 0
    if arguments[0] == "--version":
        print(f"clipsieve {__version__}")
        return 0
    verb = arguments[0]
    if verb not in known:
        print(f"clipsieve: no command {verb!r}; one of: {', '.join(known)}", file=sys.stderr)
        return 2
    # imports leave no garbage: to look for it, meanwhile and at exit, takes a quarter of torch's time
    gc.set_threshold(100_000, 50, 100)
    atexit.register(gc.freeze)
    module = importlib.import_module(f"clipsieve.cli.{verb.replace('-', '_')}")
    parser = parser_of(verb, module)
    parser.check_options(arguments[1:])
    args = parser.parse_args(arguments[1:])
    logging.basicConfig(
        stream=sys.stderr,
        level=os.environ.get("CLIPSIEVE_LOG", "INFO").upper(),
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
    )
    try:
        return module.run(args) or 0
    except UserError as error:
        print(f"clipsieve {verb}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # the reader of our output has seen enough (| head); keep Python from complaining at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, RuntimeError) as error:
        # HDF5 says it in words, in either exception
        if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error):
            print(
                f"clipsieve {verb}: No space left on the device; no incomplete file was left behind",
                file=sys.stderr,
            )
            return 1
        # A file that can't be read or written: its name says more than a traceback.
        if not isinstance(error, OSError) or error.filename is None:
            raise
        log.debug("", exc_info=True)
        print(f"clipsieve {verb}: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"clipsieve {verb}: stopped; finished work is kept", file=sys.stderr)
        return 130
    return 0


def parser_of(verb: str, module: ModuleType) -> Parser:
    """Return the parser of a command with its module's options."""
    parser = Parser(
        prog=f"clipsieve {verb}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    for action in parser._actions:
        if action.type is Path:
            action.type = _path
    return parser


def _path(text: str) -> Path:
    """Refuse an empty argument (an unset variable of a shell), as Path("") is the working directory."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text)


class Parser(argparse.ArgumentParser):
    """A parser that reports a mistake as one line, as the commands do."""

    def error(self, message: str) -> NoReturn:
        """Print the mistake and leave with status 2."""
        print(f"{self.prog}: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)

    def check_options(self, arguments: Sequence[str]) -> None:
        """Name an option that does not exist before any that is missing, with the one meant."""
        known = self._option_string_actions
        given = takewhile(lambda text: text != "--", arguments)
        for name in (text.partition("=")[0] for text in given if text.startswith("--")):
            if name not in known:
                near = get_close_matches(name, known, 1)
                self.error(f"no option {name}" + (f"; did you mean {near[0]}?" if near else ""))


def _overview(known: dict[str, str]) -> str:
    width = max(map(len, known), default=0)
    lines = [f"  {verb:{width}}  {text}" for verb, text in known.items()]
    return "\n".join(
        [
            f"clipsieve {__version__}: which parts of a frozen CLIP image encoder tell generated images",
            "from real ones, and do they transfer? Usage: clipsieve COMMAND --help",
            "",
            *lines,
        ]
    )
