"""What the command line shows: tables for people, plain values for JSON, and what the doctor finds."""

__all__ = [
    "doctor",
    "drafts",
    "endings",
    "looking",
    "options",
    "records",
    "tables",
]
