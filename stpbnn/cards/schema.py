"""The schema of a model card, and the card as TOML text, for oneself and for others."""

from __future__ import annotations

import json
import os
from datetime import date, time
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, Strict, model_validator

from stpbnn import _validation as check
from stpbnn.cards.data import Arrays, Data
from stpbnn.cards.likelihoods import check_classes, with_settings_of_classes
from stpbnn.cards.network_table import Network
from stpbnn.cards.section import NonEmpty, Section, Seed
from stpbnn.cards.theories_table import Theories
from stpbnn.catalogue import PROCESSES

if TYPE_CHECKING:
    from stpbnn import network

    ProcessName = str
else:
    ProcessName = Literal[tuple(PROCESSES)]
DEEPEST = 100  # layers
FILES = ("file", "test_file")
ARRAYS = "arrays"  # the name of data that were given in Python
Line = Annotated[str, Field(max_length=1000)]


class Process(Section):
    """[process]: a process derived from the network, which is sampled in its place."""

    name: ProcessName = Field(description=" or ".join(f'"{name}"' for name in PROCESSES))
    df: Annotated[float, Field(gt=2)] | None = Field(
        default=None, description='a number greater than 2, the degrees of freedom of "student-t", and of it alone'
    )


def four(data: Any) -> Arrays:
    """Return data if they are four arrays, as the loaders of cards and data sets give them."""
    if not isinstance(data, (tuple, list)) or len(data) != 4 or not all(hasattr(part, "shape") for part in data):
        raise ValueError(f"data: got {check.shown(data)}, expected the four arrays X, y, Xt, yt")
    return data if isinstance(data, tuple) else tuple(data)  # a task of a table stays one


class Posterior(Section):
    """[posterior]: what is sampled."""

    temperature: PositiveFloat = Field(
        description="a positive number, the variance of the Gaussian likelihood; of classes the T of p(y|f)^(1/T)"
    )


class Sampler(Section):
    """[sampler]: how it is sampled, the arguments of stpbnn.sample; a process has "nuts" and "marginal"."""

    sampler: Literal["hmc", "nuts", "tempered", "mala", "langevin"] = Field(
        default="hmc", description='one of "hmc", "nuts", "tempered", "mala", "langevin"'
    )
    readout: Literal["marginal", "explicit"] = Field(default="marginal", description='"marginal" or "explicit"')
    warmup: PositiveInt = Field(default=500, description="a whole number from 1")
    draws: PositiveInt = Field(default=1000, description="a whole number from 1")
    chains: PositiveInt = Field(default=4, description="a whole number from 1")
    seed: Seed = Field(default=0, description="a whole number from 0 to 2**32 - 1")
    keep_draws: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        default=200, description="a whole number from 0, the draws whose weights are kept for predictions"
    )
    ladder: Annotated[tuple[Annotated[int, Field(ge=2)], Annotated[float, Field(ge=0, lt=1)]], Strict(False)] | None = (
        Field(
            default=None,
            description="[K, b], the number of replicas from 2 and the power of the last from 0 to below 1, such as "
            '[18, 0.1], of "tempered" alone',
        )
    )

    @property
    def replicas(self) -> int:
        """How many copies of a chain move together."""
        from stpbnn.samplers import REPLICAS

        return 1 if self.sampler != "tempered" else REPLICAS if self.ladder is None else self.ladder[0]


class Card(Section):
    """A model card: a network, a learning task, a temperature and a sampler, with a name and a title.

    Cards are read with `load_card`, which says clearly what is wrong in a file; the constructor takes the same keys.

    Examples
    --------
    >>> card = Card(name="tiny", title="A tiny network", minutes=1, network=Network(widths=[5]),
    ...             data=Data(name="digits"), posterior=Posterior(temperature=0.1))
    >>> card.sampler.draws
    1000
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)] = Field(
        description="letters, digits, dots, dashes and underscores, 100 of them at most"
    )
    title: Line = Field(description="a line of text")
    reference: Line | None = Field(default=None, description="a line of text")
    minutes: PositiveFloat | None = Field(default=None, description="a positive number, the expected time on two cores")
    network: Network = Field(description="a table")
    process: Process | None = Field(default=None, description="a table; leave it out for the network itself")
    data: Data = Field(description="a table")
    posterior: Posterior = Field(description="a table")
    sampler: Sampler = Field(default=Sampler(), description="a table")
    theories: Theories = Field(default=Theories(), description="a table")
    sweep: dict[str, Annotated[tuple[Any, ...], Strict(False), NonEmpty]] = Field(
        default_factory=dict, description="a list of one value or more for each key"
    )

    @model_validator(mode="before")
    @classmethod
    def _settings_of_classes(cls, raw: Any) -> Any:
        return with_settings_of_classes(raw)

    def build(self) -> network.Network:
        """Return the network; ValueError, naming the key, if the settings do not suit one another."""
        self.check()
        return self.network.build()

    def check(self) -> None:
        """Raise ValueError, naming the key, if the settings do not suit one another; no network is built for it."""
        if (depth := len(self.network.hidden)) > DEEPEST:
            raise ValueError(
                f"network.{self.network.of_hidden}: got {depth} layers, expected at most {DEEPEST}: every layer adds "
                "seconds to a minute of compilation"
            )
        self.data.check()
        self.network.check()
        self.theories.check()
        process, sampler = self.process, self.sampler
        if sampler.ladder is not None and sampler.sampler != "tempered":
            raise ValueError(
                f'sampler.ladder: got {list(sampler.ladder)} with "{sampler.sampler}", expected "tempered"; '
                "leave it out"
            )
        if self.network.of_classes:
            check_classes(self)
        if process is None:
            return
        if (has_df := PROCESSES[process.name].has_df) and process.df is None:
            raise ValueError(f"process.df: missing, expected {Process.model_fields['df'].description}")
        if not has_df and process.df is not None:
            raise ValueError(
                f'process.df: got {process.df} for "{process.name}", which has no degrees of freedom; leave it out'
            )
        if self.network.kind != "fully-connected":
            raise ValueError(
                f'network.kind: got "{self.network.kind}" with a [process], expected "fully-connected", of which '
                "alone processes are known; leave [process] out"
            )
        if self.network.outputs > 1:
            raise ValueError(f"network.outputs: got {self.network.outputs} with a [process], which has one output")
        for key, expected in {"sampler": "nuts", "readout": "marginal"}.items():
            if (given := getattr(sampler, key)) != expected:
                raise ValueError(
                    f'sampler.{key}: got "{given}" with a [process], expected "{expected}": the chains run over its '
                    "scales alone, and the function is integrated"
                )

    def load(self, data: Arrays | None = None, *, sampled: bool = False) -> Arrays:
        """Return X, y and the test set Xt, yt, if they go with the network and fit into the memory of this machine.

        Parameters
        ----------
        data : tuple of arrays, optional
            Those of the card, where they are loaded already.
        sampled : bool
            Whether the chains must fit as well.

        Raises
        ------
        ValueError
            Naming the key, for data that cannot be had so, and for what is too large.

        Examples
        --------
        >>> Card(name="tiny", title="A tiny network", network=Network(widths=[5], outputs=3), posterior=Posterior(
        ...     temperature=0.1), data=Data(name="digits", classes=[0, 1])).load()
        Traceback (most recent call last):
        ValueError: network.outputs: got 3, expected 1: the targets of digits have 1 column
        """
        from stpbnn.cards import limits

        if data is None and self.data.name == ARRAYS:
            raise ValueError(
                'data.name: got "arrays", which were given in Python; give them again: '
                "stpbnn.run(card, data=(X, y, Xt, yt), folder=...)"
            )
        sampled = check.boolean("sampled", sampled)
        data = self.data.load(classes=self.network.of_classes) if data is None else four(data)
        limits.refuse_data(self, data)
        if sampled:
            limits.refuse_sampling(self, data)
        return data

    def to_toml(self) -> str:
        """Return the whole card, defaults included, as TOML text that `load_card` reads back as an equal card.

        Examples
        --------
        >>> card = Card(name="tiny", title="A tiny network", minutes=1, network=Network(widths=[5]),
        ...             data=Data(name="digits"), posterior=Posterior(temperature=0.1))
        >>> print(card.to_toml())
        name = "tiny"
        title = "A tiny network"
        minutes = 1.0
        <BLANKLINE>
        [network]
        kind = "fully-connected"
        widths = [5]
        ...
        """
        tables = self.model_dump(exclude_none=True)
        lines = [f"{key} = {toml_value(value)}" for key, value in tables.items() if not isinstance(value, dict)]
        for name, table in tables.items():
            if isinstance(table, dict) and table:
                quoted = json.dumps if name == "sweep" else str  # the dots of a sweep's keys are part of them
                lines += ["", f"[{name}]", *(f"{quoted(key)} = {toml_value(value)}" for key, value in table.items())]
        return "\n".join(lines) + "\n"


TABLES: dict[str, type[Section]] = {
    "network": Network,
    "process": Process,
    "data": Data,
    "posterior": Posterior,
    "sampler": Sampler,
    "theories": Theories,
}
LEAVES = tuple(f"{name}.{key}" for name, table in TABLES.items() for key in table.model_fields)
SWEEPABLE = tuple(key for key in LEAVES if not key.startswith("theories."))
LONG = 10_000  # bits, beyond which Python refuses to write decimal digits
KEYS = (*(key for key in Card.model_fields if key not in TABLES and key != "sweep"), *LEAVES)


def toml_value(value: Any) -> str:
    """Write a value as TOML: text, a number, a truth value, or a list of them."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, (date, time)):
        return value.isoformat()
    return hex(value) if isinstance(value, int) and value.bit_length() > LONG else repr(value)


def shared(card: Card) -> Card:
    """Return a card that finds its files beside it: by their names, or by their paths from the folder of them all.

    Examples
    --------
    >>> card = Card.model_construct(data=Data(file="/home/me/house.csv", target="price"), sweep={})
    >>> shared(card).data.file
    'house.csv'
    """
    swept = {key: card.sweep[key] for name in FILES if (key := f"data.{name}") in card.sweep}
    given = {name: path for name in FILES if (path := getattr(card.data, name))}
    paths = [*given.values(), *chain.from_iterable(swept.values())]
    root = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths]) if paths else ""

    def inside(path: str) -> str:
        return Path(os.path.relpath(path, root)).as_posix()

    files = {name: inside(path) for name, path in given.items()}
    sweep = {key: tuple(map(inside, some)) for key, some in swept.items()}
    data = card.data.model_copy(update=files | {"data_home": None})
    return card.model_copy(update={"data": data, "sweep": {**card.sweep, **sweep}})
