"""What a training run minimises: a weighted sum of losses, each with a time to join and to leave.

Three ways to write it, which mean the same::

    loss: mse                        # one loss, as it comes

    loss:                            # by name; --set loss.l_conn.start=2000 changes one number
      mse: {}
      l_conn: {start: 4000, options: {window: 32}}

    loss:
      terms:
      - name: mse
      - {name: l_conn, start: 4000, options: {window: 32}}
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from neuroconn.config.base import Settings

Name = Literal["mse", "huber", "l_conn", "l_3d", "l_2d", "snake", "soft_cldice", "skeleton_recall"]


class TermSettings(Settings):
    """One term; only the options its loss takes may be given."""

    name: Name
    """Which loss."""
    weight: float = Field(1.0, ge=0)
    """Factor of the term in the sum; 0 to report the term without learning from it."""
    start: int = Field(0, ge=0)
    """First iteration the term takes part in: connectivity is learnt after the map."""
    stop: int | None = Field(None, ge=1)
    """Iteration the term leaves at; None for never."""
    options: dict[str, object] = Field(default_factory=dict)
    """Arguments of the loss, such as ``window: 48`` or ``disconnection: 1.0e-4``."""

    def at(self, iteration: int) -> bool:
        """Whether the term takes part in an iteration."""
        return self.start <= iteration and (self.stop is None or iteration < self.stop)

    @model_validator(mode="after")
    def _check(self) -> TermSettings:
        if self.stop is not None and self.stop <= self.start:
            raise ValueError(f"{self.name} stops at {self.stop}, before it starts at {self.start}")
        return self


class LossSettings(Settings):
    """The sum of its terms."""

    terms: tuple[TermSettings, ...] = (TermSettings(name="mse"),)
    """Summands, each loss once."""

    @model_validator(mode="before")
    @classmethod
    def _spell_out(cls, data: Any) -> Any:
        """Turn a name, or terms by name, into a list of terms."""
        if isinstance(data, str):
            return {"terms": [{"name": data}]}
        if not isinstance(data, dict) or "terms" in data or not data:
            return data
        odd = [name for name, term in data.items() if not isinstance(term, dict | None)]
        if odd:
            raise ValueError(f"{odd[0]} must hold the settings of a term, such as weight or start")
        return {"terms": [{"name": name, **(term or {})} for name, term in data.items()]}

    @model_validator(mode="after")
    def _check(self) -> LossSettings:
        names = [term.name for term in self.terms]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"{twice[0]} is given twice")
        learnt = [term for term in self.terms if term.weight > 0]
        for iteration in sorted({0, *(term.stop for term in learnt if term.stop)}):
            if not any(term.at(iteration) for term in learnt):
                raise ValueError(
                    f"nothing to minimise at iteration {iteration}: no term takes part"
                )
        return self
