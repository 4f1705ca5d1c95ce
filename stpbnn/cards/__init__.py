"""Model cards: TOML files that describe a run, their schema, and one clear message for each mistake in them."""

from stpbnn.cards import code as code
from stpbnn.cards import drafting as drafting
from stpbnn.cards.checks import mistakes as mistakes
from stpbnn.cards.checks import sweep_mistakes as sweep_mistakes
from stpbnn.cards.data import OF_FILES as OF_FILES
from stpbnn.cards.data import OF_TABLES as OF_TABLES
from stpbnn.cards.loading import attributed, is_table, load_card, shipped_cards
from stpbnn.cards.network_table import OF_IMAGES as OF_IMAGES
from stpbnn.cards.schema import ARRAYS as ARRAYS
from stpbnn.cards.schema import SWEEPABLE as SWEEPABLE
from stpbnn.cards.schema import Arrays, Card, Data, Network, Posterior, Process, Sampler, Theories
from stpbnn.cards.schema import four as four
from stpbnn.cards.schema import shared as shared
from stpbnn.cards.sweep_points import CHANNELS as CHANNELS
from stpbnn.cards.sweep_points import TEMPERATURE as TEMPERATURE
from stpbnn.cards.sweep_points import WIDTHS as WIDTHS
from stpbnn.cards.sweep_points import changed as changed
from stpbnn.cards.sweep_points import count as count
from stpbnn.cards.sweep_points import dimension as dimension
from stpbnn.cards.sweep_points import labels as labels
from stpbnn.cards.sweep_points import points
from stpbnn.cards.sweep_points import selected as selected

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
    "drafting",
    "is_table",
    "load_card",
    "points",
    "shipped_cards",
]
