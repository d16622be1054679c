"""The sum of losses that a training run minimises."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import create_model
from torch import Tensor, nn

from neuroconn.config.base import Settings, resolve
from neuroconn.config.loss import LossSettings, TermSettings
from neuroconn.errors import ConfigError
from neuroconn.loss.term import Term

if TYPE_CHECKING:
    from neuroconn.annotation import Graph

TERMS = {
    "mse": "regression.MSE",
    "huber": "regression.Huber",
    "l_conn": "connectivity.LConn",
    "l_3d": "connectivity.L3D",
    "l_2d": "connectivity.L2D",
    "snake": "snake.SnakeLoss",
    "soft_cldice": "soft_cldice.SoftClDice",
    "skeleton_recall": "skeleton_recall.SkeletonRecall",
}
"""Module of this package, and class, of every name in the settings."""

OPEN = object()
"""Stands for what a term cannot make of a crop, because its annotation is not known everywhere."""

Truth = NDArray[np.float32] | Sequence[NDArray[np.float32]]


class Objective(nn.Module):
    """Weighted sum of terms, each within its time; `build_objective` makes it.

    Parameters
    ----------
    settings : LossSettings
        Weights and times.
    terms : sequence of Term
        One for each of ``settings.terms``.
    """

    def __init__(self, settings: LossSettings, terms: Sequence[Term]) -> None:
        super().__init__()
        self.settings = settings
        self.terms = nn.ModuleList(terms)

    @property
    def wants_graph(self) -> bool:
        """Whether a term needs the annotation's graph."""
        return any(term.wants_graph for term in self._all())

    def prepare(
        self,
        distance: Truth,
        graph: Graph | None,
        *,
        iteration: int | None = None,
        whole: bool = True,
    ) -> tuple[Any, ...]:
        """Compute what depends on one crop's annotation alone, in the data loader.

        Parameters
        ----------
        distance : ndarray of float32, shape (z, y, x)
            Clipped distance map, augmented as the image is; or the maps traced in projections.
        graph : Graph or None
            The annotation in voxels of the crop; None unless :attr:`wants_graph`.
        iteration : int, optional
            When the crop will be learnt from, to leave out terms that are off by then.
        whole : bool, optional
            Whether the annotation is known everywhere in the crop. If not, only terms that take
            each voxel alone learn from it: a line that ends where knowledge does is no gap.

        Returns
        -------
        tuple
            One object a term.
        """
        made: list[Any] = []
        for settings, term in zip(self.settings.terms, self._all(), strict=True):
            if not (whole or term.pointwise):
                made.append(OPEN)
            elif iteration is None or settings.at(iteration):
                made.append(term.prepare(distance, graph))  # type: ignore[arg-type]  # 2D maps are for those that take them
            else:
                made.append(None)
        return tuple(made)

    def forward(
        self,
        prediction: Tensor,
        target: Tensor | Sequence[Tensor],
        prepared: Sequence[tuple[Any, ...]] | None = None,
        *,
        iteration: int,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch.

        Parameters
        ----------
        prediction : Tensor, shape (batch, 1, z, y, x)
            Distances in voxels; half precision is taken as float32.
        target : Tensor or sequence of Tensor
            Of the same shape; or a 2D map for each projection, if every term takes that.
        prepared : sequence of tuple, optional
            What :meth:`prepare` returned for each crop.
        iteration : int
            Decides which terms take part; the others cost nothing.

        Returns
        -------
        total : Tensor, scalar
            Weighted sum.
        values : dict of str to Tensor
            Of every term that takes part, without its weight and without gradient; 0 if no crop of
            the batch can be judged by it.
        """
        if prediction.dtype in (torch.float16, torch.bfloat16):
            prediction = prediction.float()
        total = prediction.new_zeros(())
        values: dict[str, Tensor] = {}
        for place, (settings, term) in enumerate(
            zip(self.settings.terms, self._all(), strict=True)
        ):
            if not settings.at(iteration):
                continue
            if not (isinstance(target, Tensor) or term.takes_projections):
                raise ConfigError(f"{settings.name} needs a target in space, not its projections")
            mine = [crop[place] for crop in prepared] if prepared else None
            if mine and any(part is None for part in mine):
                mine = None
            with torch.set_grad_enabled(torch.is_grad_enabled() and settings.weight > 0):
                value = _of_whole_crops(term, prediction, target, mine)
            values[settings.name] = value.detach()
            if settings.weight:
                total = total + settings.weight * value
        return total, values

    def _all(self) -> list[Term]:
        return [term for term in self.terms if isinstance(term, Term)]


def _of_whole_crops(
    term: Term,
    prediction: Tensor,
    target: Tensor | Sequence[Tensor],
    prepared: list[Any] | None,
) -> Tensor:
    """Loss of the crops whose annotation is known everywhere; a mean is one over these."""
    kept = [n for n, made in enumerate(prepared or ()) if made is not OPEN]
    value: Tensor
    if prepared is None or len(kept) == len(prepared):
        value = term(prediction, target, prepared)
    elif kept:
        some = target[kept] if isinstance(target, Tensor) else [view[kept] for view in target]
        value = term(prediction[kept], some, [prepared[n] for n in kept])
    else:
        value = prediction.new_zeros(())
    return value


def build_objective(
    settings: LossSettings, *, clip: float, crop: Sequence[int] | None = None
) -> Objective:
    """Make what a training run minimises.

    Parameters
    ----------
    settings : LossSettings
        Terms, their weights, times and options.
    clip : float
        Where the run's distances are cut off, in voxels; terms use it unless they are given one.
        Likewise, voxels up to half a diagonal (0.87) from a curve count as its centreline.
    crop : (z, y, x) ints, optional
        Size of the crops, to check that every term can be taken of them.

    Returns
    -------
    Objective

    Raises
    ------
    ConfigError
        If a term does not take an option, or an option or the crop is out of range.

    Examples
    --------
    >>> settings = LossSettings.model_validate({"mse": {}, "l_conn": {"start": 4000}})
    >>> objective = build_objective(settings, clip=10, crop=(96, 96, 96))
    >>> prediction, target = torch.full((2, 1, 1, 96, 96, 96), 10.0)
    >>> objective(prediction - 1, target, iteration=0)
    (tensor(1.), {'mse': tensor(1.)})
    >>> sorted(objective(prediction - 1, target, iteration=4000)[1])
    ['l_conn', 'mse']
    """
    context = {"clip": clip, "centreline": math.sqrt(3) / 2}
    return Objective(settings, [_term(term, context, crop) for term in settings.terms])


def _term(settings: TermSettings, context: dict[str, float], crop: Sequence[int] | None) -> Term:
    module, _, name = TERMS[settings.name].partition(".")
    kind = getattr(import_module(f"neuroconn.loss.{module}"), name)
    schema = _schema(settings.name, kind)
    source = f"loss.{settings.name}"
    given = resolve(schema, settings.options, source=f"{source}.options")
    known = {key: value for key, value in context.items() if key in schema.model_fields}
    try:
        term: Term = kind(**{**known, **given.model_dump(exclude_unset=True)})
        if crop is not None:
            term.check(crop)
    except ValueError as error:
        raise ConfigError(f"{source}: {error}") from None
    return term


def _schema(name: str, kind: type[Term]) -> type[Settings]:
    """Make a schema of what a term's constructor takes: the signature is where options live."""
    fields: dict[str, Any] = {}
    if kind.__init__ is not nn.Module.__init__:
        hints = get_type_hints(kind.__init__)
        for parameter in list(inspect.signature(kind.__init__).parameters.values())[1:]:
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                (options,) = get_args(hints[parameter.name])  # Unpack[...]
                fields |= get_type_hints(options)
            else:
                fields[parameter.name] = hints[parameter.name]
    made: dict[str, Any] = {field: (hint, None) for field, hint in fields.items()}
    schema: type[Settings] = create_model(name, __base__=Settings, **made)
    return schema
