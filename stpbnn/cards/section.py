"""What the tables of a card have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["NonEmpty", "Section", "Seed"]

Seed = Annotated[int, Field(ge=0, lt=2**32)]
NonEmpty = Field(min_length=1)


class Section(BaseModel):
    """A table of a card. The description of a field is what its error message calls 'expected'."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
