"""The command `doctor`: what stpbnn finds on a machine, and what is missing."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import typer
from rich.table import Table

from stpbnn import _blas
from stpbnn._version import __version__
from stpbnn.terminal import records
from stpbnn.terminal.looking import console
from stpbnn.terminal.options import JsonOption

__all__ = ["doctor", "examine"]

PACKAGES = ("jax", "jaxlib", "numpyro", "numpy", "scipy", "scikit-learn", "arviz")


def doctor(as_json: JsonOption = False) -> None:
    """Say what is on this machine: versions, devices, precision, BLAS, data, and what is missing and how to get it."""
    findings = examine()
    if as_json:
        typer.echo(records.as_json(findings))
    else:
        console.print(_table(findings))


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


def _table(findings: Mapping[str, Any]) -> Table:
    """Return what was found, a line for each thing."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for package, version in findings["versions"].items():
        table.add_row(package, version or "not installed")
    table.add_section()
    table.add_row("machine", f"{findings['platform']}, {findings['cores']} cores")
    devices = [f"{device['platform']}:{device['id']} ({device['kind']})" for device in findings["devices"]]
    table.add_row("devices", ", ".join(devices) or "none")
    precision = findings["precision"]
    table.add_row("precision", f"chains {precision['chains'] or 'unknown'}, closed forms {precision['closed_forms']}")
    for library in findings["blas"]:
        table.add_row("BLAS", f"{library['library']} {library['version']}, threads: {library['threads']}")
    data = findings["data"]
    table.add_row("data", f"{data['folder']} ({data['named_by']})")
    found = [name for name, there in data["found"].items() if there]
    table.add_row("found", ", ".join(found) or "none")
    for lack in findings["missing"]:
        table.add_row("missing", f"{lack['what']}: {lack['remedy']}")
    if not findings["missing"]:
        table.add_row("missing", "nothing")
    return table
