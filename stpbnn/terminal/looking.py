"""The commands that look around: models, data sets, and what stpbnn finds on a machine."""

from __future__ import annotations

import os
import platform
import shutil
from importlib import metadata
from typing import Any

import typer
from rich.console import Console

from stpbnn import _blas
from stpbnn._version import __version__
from stpbnn.terminal import records, tables
from stpbnn.terminal.options import JsonOption

__all__ = ["console", "datasets", "doctor", "models"]

console = Console()
PACKAGES = ("jax", "jaxlib", "numpyro", "numpy", "scipy", "scikit-learn", "arviz")


def models(as_json: JsonOption = False) -> None:
    """List the model cards that come with stpbnn, each with its title and the minutes that it takes on two cores."""
    from stpbnn.cards import shipped_cards

    cards = shipped_cards()
    if as_json:
        typer.echo(records.as_json([card.model_dump(mode="json") for card in cards.values()]))
    else:
        console.print(tables.cards_table(cards))


def datasets(as_json: JsonOption = False) -> None:
    """List the data sets, and whether their files are found.

    Files are looked for in the folder that the variable STPBNN_DATA names, else in ~/.cache/stpbnn.
    A card can name another one as data.data_home.
    """
    from stpbnn.datasets import describe

    described = describe()
    if as_json:
        typer.echo(records.as_json([one._asdict() for one in described]))
    else:
        console.print(tables.datasets_table(described))


def doctor(as_json: JsonOption = False) -> None:
    """Say what is on this machine: versions, devices, precision, BLAS, data, and what is missing and how to get it."""
    findings = examine()
    if as_json:
        typer.echo(records.as_json(findings))
    else:
        console.print(tables.doctor_table(findings))


def examine() -> dict[str, Any]:
    """Return what there is on this machine, as plain values; nothing that is missing raises.

    Returns
    -------
    dict
        `versions` by package (None where there is none), `platform`, `cores` that this process may use, `devices` and
        `precision` of JAX, `blas` libraries with their threads, `data` found and where it was looked for, and what is
        `missing`, with a remedy for each.

    Examples
    --------
    >>> examine()["precision"]["closed_forms"]
    'float64'
    """
    missing: list[dict[str, str]] = []
    versions = {package: _version(package, missing) for package in PACKAGES}
    devices, chains = _jax(missing)
    return {
        "versions": {"stpbnn": __version__, "python": platform.python_version()} | versions,
        "platform": platform.platform(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "devices": devices,
        "precision": {"chains": chains, "closed_forms": "float64"},
        "blas": _libraries(),
        "data": _data(missing),
        "missing": missing,
    }


def _version(package: str, missing: list[dict[str, str]]) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        missing.append({"what": package, "remedy": "`uv sync` in a clone installs it"})
        return None


def _jax(missing: list[dict[str, str]]) -> tuple[list[dict[str, Any]], str | None]:
    """Return the devices that JAX sees, the default ones first, and its default precision."""
    try:
        import jax

        devices = [{"platform": d.platform, "id": d.id, "kind": d.device_kind} for d in jax.devices()]
    except (ImportError, RuntimeError) as error:
        missing.append({"what": "JAX does not start", "remedy": " ".join(str(error).split())})
        return [], None
    if shutil.which("nvidia-smi") and all(device["platform"] == "cpu" for device in devices):
        missing.append(
            {
                "what": "an NVIDIA driver is here, but JAX sees no GPU",
                "remedy": "`uv sync --extra cuda` installs JAX for it",
            }
        )
    return devices, "float64" if jax.config.jax_enable_x64 else "float32"


def _libraries() -> list[dict[str, Any]]:
    """Return the BLAS libraries that NumPy and SciPy load."""
    from threadpoolctl import threadpool_info

    _blas.load()
    import scipy.linalg  # noqa: F401

    return [
        {
            "library": info["internal_api"],
            "version": info["version"],
            "threads": info["num_threads"],
            "file": info["filepath"],
        }
        for info in sorted(threadpool_info(), key=lambda info: info["filepath"])
        if info["user_api"] == "blas"
    ]


def _data(missing: list[dict[str, str]]) -> dict[str, Any]:
    from stpbnn.datasets import describe, home, look_up

    folder, found = home(), {name: there for name, _, there in describe()}
    for name in (name for name, there in found.items() if not there and look_up(name).downloaded):
        by_hand = f"put its files into {folder / name}, or name the folder of the data with STPBNN_DATA"
        missing.append(
            {"what": f"data set {name}", "remedy": f"downloaded from OpenML when first loaded; or {by_hand}"}
        )
    named_by = "the variable STPBNN_DATA" if os.environ.get("STPBNN_DATA") else "the default; STPBNN_DATA is not set"
    return {"folder": str(folder), "named_by": named_by, "found": found}
