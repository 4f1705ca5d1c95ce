"""`python -m stpbnn` is `stpbnn`."""

from __future__ import annotations

from stpbnn import _interrupt

__all__ = ["main"]


def main() -> None:
    """Run the command line; Ctrl-C ends it in one line from its first moment on, while it is imported as well."""
    _interrupt.leave_at_once()
    from stpbnn import cli

    cli.main()


if __name__ == "__main__":
    main()
