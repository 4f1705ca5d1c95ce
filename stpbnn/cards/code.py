"""Activations that are code of one's own: "module:function", a JAX function in a module beside the card or installed.

Reading a card runs no code. Only where the caller allows it is the module run, and the function registered as an
activation under the text that the card has; a run keeps a copy of the module beside its card.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from stpbnn._validation import one_of
from stpbnn.files import read_bytes

if TYPE_CHECKING:
    from stpbnn.cards.schema import Card

__all__ = ["CodeError", "allow", "beside", "digests", "folders", "is_code", "named"]


class _Source(NamedTuple):
    """The folder where the module of an activation was sought, its path from there, and the bytes that were run."""

    folder: Path
    file: str
    content: bytes


_SOURCES: dict[str, _Source] = {}


LONGEST = 200  # letters of what a module says when it fails


class CodeError(ValueError):
    """Raised for code that a card may not run, or that fails."""


def is_code(activation: str) -> bool:
    """Return whether the activation of a card is code.

    Examples
    --------
    >>> is_code("mymodule:softplus"), is_code("erf")
    (True, False)
    """
    return ":" in activation


def named(card: Card) -> list[str]:
    """Return the activations of a card, and of its sweep, that are code."""
    swept = [value for value in card.sweep.get("network.activation", ()) if isinstance(value, str)]
    return [name for name in dict.fromkeys([card.network.activation, *swept]) if is_code(name)]


def allow(name: str, folder: Path) -> None:
    """Run the module that an activation names, and register the function under this name.

    Parameters
    ----------
    name : str
        "module:function".
    folder : path
        Where the module is looked for first, as module.py; then on Python's path.

    Raises
    ------
    CodeError
        If there is no such module or function, if it fails, or if no network can have the function.
    """
    from stpbnn.activations import Activation, available, register

    module, _, function = name.partition(":")
    file = f"{module.replace('.', '/')}.py"
    path = folder / file
    if name in available():
        if path.is_file() and name in _SOURCES and read_bytes(path) != _SOURCES[name].content:
            raise CodeError(f"network.activation: {path} is another than the one that has run; start Python anew")
        return
    try:
        loaded = _load(module, path)
        found = vars(loaded)[one_of(f"network.activation: {module}", function, _functions(loaded))]
        if not isinstance(found, Activation):
            found = Activation(name, found)
        register(Activation.known(**{**vars(found), "name": name}))
    except CodeError:
        raise
    except ValueError as error:
        said = str(error)
        raise CodeError(said if said.startswith("network.activation") else f"network.activation: {said}") from None
    source = path if path.is_file() else Path(inspect.getsourcefile(loaded) or "")
    if source.is_file():
        _SOURCES[name] = _Source(folder, file, read_bytes(source))


def folders(card: Card) -> dict[str, Path]:
    """Return the folders where the modules of a card's activations were found, for `allow` in another process."""
    return {name: _SOURCES[name].folder for name in named(card) if name in _SOURCES}


def digests(names: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of the file of each activation that is code, by the name of the activation."""
    return {name: hashlib.sha256(_SOURCES[name].content).hexdigest() for name in names if name in _SOURCES}


def beside(card: Card) -> dict[str, str]:
    """Return the texts of the modules that hold the activations of a card, by the names of their files."""
    sources = [_SOURCES[name] for name in named(card) if name in _SOURCES]
    return {source.file: source.content.decode() for source in sources if "/" not in source.file}


def _load(module: str, path: Path) -> Any:
    """Run a module; report whatever it raises in one line."""
    try:
        if not path.is_file():
            return importlib.import_module(module)
        spec = importlib.util.spec_from_file_location(
            f"_stpbnn_card_{hashlib.sha256(read_bytes(path)).hexdigest()[:16]}", path
        )
        if spec is None or spec.loader is None:
            raise ImportError(f"no module in {path}")
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = loaded
        spec.loader.exec_module(loaded)
        return loaded
    except ModuleNotFoundError as error:
        if error.name == module.partition(".")[0] or error.name == module:
            raise CodeError(
                f"network.activation: got the module {module!r}, expected {path.name} beside the card, in "
                f"{path.parent}, or a module on Python's path"
            ) from None
        raise CodeError(
            f"network.activation: {module} needs {error.name}, which is not installed; install it"
        ) from None
    except Exception as error:  # whatever somebody else's module raises
        said = " ".join(str(error).split())[:LONGEST]
        raise CodeError(
            f"network.activation: {module} cannot be run ({type(error).__name__}: {said}); mend it"
        ) from None


def _functions(module: Any) -> list[str]:
    return [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
