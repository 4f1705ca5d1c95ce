"""stpbnn comes before SciPy, as it does where a script imports it first: it sets how long OpenBLAS's threads wait."""

import stpbnn  # noqa: F401
