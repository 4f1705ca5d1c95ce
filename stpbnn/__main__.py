"""`python -m stpbnn` is `stpbnn`."""

from __future__ import annotations

import gc

__all__ = ["main"]


def main() -> None:
    """Run the command line; Ctrl-C ends it in one line from its first moment on, while it is imported as well."""
    try:
        from stpbnn import _interrupt

        _interrupt.leave_at_once()
        gc.set_threshold(100_000)  # tracing makes so many objects that looking for cycles among them takes a while
        from stpbnn import cli

        cli.main()
    except KeyboardInterrupt:  # in the milliseconds before
        from stpbnn import _interrupt

        _interrupt.leave()


if __name__ == "__main__":
    main()
