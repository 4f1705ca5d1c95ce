"""Model cards: TOML files that describe a run, their schema, and one clear message for each mistake in them."""

from stpbnn.cards.loading import attributed, is_table, load_card, shipped_cards
from stpbnn.cards.points import points
from stpbnn.cards.schema import Arrays, Card, Data, Network, Posterior, Process, Sampler, Theories

__all__ = [
    "Arrays",
    "Card",
    "Data",
    "Network",
    "Posterior",
    "Process",
    "Sampler",
    "Theories",
    "attributed",
    "is_table",
    "load_card",
    "points",
    "shipped_cards",
]
