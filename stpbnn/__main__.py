"""`python -m stpbnn` is `stpbnn`."""

from stpbnn.cli import main

main()
