"""What the command line shows: tables for people, plain values for JSON, and what the doctor finds."""

__all__ = [
    "compiled",
    "drafts",
    "endings",
    "looking",
    "options",
    "records",
    "tables",
]
