"""stpbnn comes before SciPy, as where a script imports it first: it says how long OpenBLAS's threads wait."""

import stpbnn

stpbnn.FullyConnected  # noqa: B018
