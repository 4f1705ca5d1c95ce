"""Shapes and types of internal functions are checked here and nowhere else; the public doors speak for themselves."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")

from jaxtyping import install_import_hook

INTERNAL = ["activations", "kernels", "action"]
install_import_hook([f"stpbnn.{name}" for name in INTERNAL], "beartype.beartype")
