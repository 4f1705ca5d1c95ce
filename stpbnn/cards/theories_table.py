"""The table [theories] of a card: what stands beside the posterior."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, Strict

from stpbnn.cards.section import NonEmpty, Section
from stpbnn.catalogue import THEORIES, short_name

if TYPE_CHECKING:
    TheoryName = str
else:
    TheoryName = Literal[tuple(THEORIES)]

__all__ = ["Theories"]

NOISE_DF = 4.0  # where a card leaves it to the regressors


def _short(name: Any) -> Any:
    """Return the short name of a theory, where a card has the one that tables show."""
    return short_name(name) if isinstance(name, str) else name


class Theories(Section):
    """[theories]: what stands beside the posterior; it may change without sampling anew."""

    names: Annotated[tuple[Annotated[TheoryName, BeforeValidator(_short)], ...], Strict(False), NonEmpty] | None = (
        Field(
            default=None,
            description=f"a list of some of {', '.join(THEORIES)}; leave it out for all that are known",
        )
    )
    particles: Annotated[int, Field(ge=16)] = Field(
        default=4096, description="a whole number from 16, the hidden units that the adaptive kernel simulates"
    )
    cluster: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        default=1,
        description='a whole number from 1 or "auto", the hidden units that the adaptive kernel samples jointly',
    )
    noise: Literal["gaussian", "student-t", "robust", "auto"] = Field(
        default="gaussian",
        description='one of "gaussian", "student-t", "robust", and "auto" for that of the first two under which the '
        "targets, each given the others, are the likelier: the noise of infinite width; the chains have the first",
    )
    noise_df: PositiveFloat | None = Field(
        default=None,
        description='a positive number, the degrees of freedom of the noise "student-t", and of that by which "robust" '
        "finds outliers",
    )
    trend: Literal["zero", "constant", "linear"] = Field(
        default="zero",
        description='one of "zero", "constant", "linear", what theories other than the adaptive kernel have beside the '
        "network; the chains have none",
    )
    solver: Literal["auto", "exact", "iterative"] = Field(
        default="auto", description='one of "auto", "exact", "iterative", for theories other than the adaptive kernel'
    )

    def check(self) -> None:
        """Raise ValueError, naming the key, if the settings do not suit one another."""
        if self.trend != "zero" and set(self.names or ()) == {"adaptive"}:
            raise ValueError(
                f'theories.trend: got "{self.trend}" with the theory "adaptive" alone, which has none; name more'
            )
        for key, plain in {"noise": "gaussian", "trend": "zero"}.items():
            if self.solver == "iterative" and (given := getattr(self, key)) != plain:
                raise ValueError(
                    f'theories.solver: got "iterative" with the {key} "{given}", of which it knows nothing; expected '
                    '"exact" or "auto"'
                )
        if self.noise == "gaussian":
            if self.noise_df is not None:
                raise ValueError(
                    f'theories.noise_df: got {self.noise_df:g} with the noise "gaussian", which has no degrees of '
                    'freedom; give noise = "student-t", or leave it out'
                )
            return
        if self.names is not None and "infinite" not in self.names:
            raise ValueError(
                f'theories.noise: got "{self.noise}" without the theory "infinite", which alone has it; add it to names'
            )
        if self.trend != "zero":
            raise ValueError(
                f'theories.trend: got "{self.trend}" with the noise "{self.noise}", expected "zero"; give the network '
                "biases"
            )

    @property
    def beside_the_chains(self) -> str:
        """What the theories have, and the chains do not; nothing by default."""
        tails = f"Student's t noise of {self.noise_df or NOISE_DF:g} degrees of freedom"
        chosen = f"Gaussian noise or {tails}, as leave-one-out chooses"
        noise = {"gaussian": "", "student-t": tails, "robust": "robust noise", "auto": chosen}[self.noise]
        trend = "" if self.trend == "zero" else f"a {self.trend} trend"
        return " and ".join(filter(None, (f"{noise} (infinite width alone)" if noise else "", trend)))
