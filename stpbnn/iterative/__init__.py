r"""Kernels beyond a factorisation: products tile by tile, and what a Krylov space tells of all scales at once.

A Krylov space of K holds those of :math:`r K + T` for every scale r and noise T. Hence one run with the targets and
random probes as starting vectors gives, at any of them, solutions, log determinant and traces.
"""

from stpbnn.iterative.enclosure import enclosed
from stpbnn.iterative.krylov import Krylov, RitzPairs
from stpbnn.iterative.tiled_matrix import Blocks, TiledMatrix
from stpbnn.iterative.trace_measure import SpectralMeasure, found, spectral_measure

__all__ = [
    "Blocks",
    "Krylov",
    "RitzPairs",
    "SpectralMeasure",
    "TiledMatrix",
    "enclosed",
    "found",
    "spectral_measure",
]
