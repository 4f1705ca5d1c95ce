"""A sweep of the smallest runs."""

from stpbnn import cards

TINY = ["sampler.warmup=10", "sampler.draws=100", "sampler.chains=2", "data.size=3", "data.test=4"]
TINY += ["theories.particles=4096"]  # as by default: the theories here have none


CLOSED = "theories.names=['infinite', 'proportional', 'finite']"


def swept(*changes, **sweep):
    keys = {key.replace("__", "."): tuple(values) for key, values in sweep.items()}
    return cards.load_card("smoke-1hl-linear", [*TINY, CLOSED, *changes]).model_copy(update={"sweep": keys})


CARD = swept(network__widths=[[4], [8]], data__train=[6])
