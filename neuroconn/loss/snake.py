"""The snake loss: compare the prediction with the annotation where the prediction wants it.

Annotations lie a few voxels beside the neurite, and a network that has to choose between them and
the image learns a blur that breaks. Here the annotation is an active contour: it moves a little,
downhill on the predicted distance map, held together by its energy, and the prediction is compared
with the distance to where it went [1]_. Whatever it does, it stays connected as annotated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroconn.annotation import Graph
from neuroconn.loss.snake_body import Snake, Snakes, SnakeSettings
from neuroconn.loss.snake_render import render
from neuroconn.loss.term import Term


def snake(
    prediction: Tensor,
    graphs: Sequence[Graph],
    *,
    tau: float = 0.1,
    alpha: float = 1e-2,
    beta: float = 1e-2,
    sigma: float = 0.5,
    external: float = 2.0,
    steps: int = 10,
    clip: float = 10.0,
    longest_edge: float = 5.0,
    gradient: bool = True,
    context: bool = True,
) -> Tensor:
    """Mean squared error against the distance to the moved annotation (MSE-GaussSnake-wGrad) [1]_.

    From its annotated positions ``s`` the graph takes ``steps`` implicit steps ``(I + tau A) s' =
    s - tau G(s)``, with A of `neuroconn.loss.snake_energy` and the field G of the prediction of
    `neuroconn.loss.snake_field`. With D the distance map of the moved graph, the loss is the mean
    of ``(prediction - D)**2``.

    Parameters
    ----------
    prediction : Tensor, shape (batch, 1, z, y, x)
        Distances in voxels, low on neurites. Computed in float32 if of half precision.
    graphs : sequence of Graph
        The annotation of each crop, in voxels of the crop. It may reach beyond the faces.
    tau : float, optional
        Length of a step. On a map of slope 1 a node moves ``tau * external`` voxels a step: with
        the defaults, up to 2 voxels in all.
    alpha, beta : float, optional
        Weights of stretching and of bending. (The published configuration has 1e-4 and 1e-2.)
    sigma : float, optional
        Of the Gaussian derivative that makes the field, in voxels.
    external : float, optional
        Factor of the field.
    steps : int, optional
        Number of steps; 0 leaves the annotation where it is.
    clip : float, optional
        Largest distance, in voxels.
    longest_edge : float, optional
        Edges are split to at most this length, in voxels: what has no node cannot bend.
    gradient : bool, optional
        Differentiate through the movement too. Otherwise the moved annotation is a constant target
        (the published variant without gradient, with exact distances instead of those of voxels).
    context : bool, optional
        Draw what lies beyond the faces of the crop, within the clip, as it was annotated. Otherwise
        it is cut off, as published, and the target near a face differs from the distance map.

    Returns
    -------
    Tensor, scalar
        In squared voxels, a mean over voxels and batch as `neuroconn.loss.mse` is.

    Raises
    ------
    ValueError
        If there is not one graph for each crop, or an option makes no sense.

    Notes
    -----
    Beyond what was published, nodes without an edge are drawn as points (the dataset draws them
    too) where the original measured to the first node of a graph without edges; a graph is cut at
    the centres of the outermost voxels; edges that cross the crop with both ends outside count.

    References
    ----------
    .. [1] Oner et al., "Adjusting the Ground Truth Annotations for Connectivity-Based Learning to
       Delineate", arXiv:2112.02781.

    Examples
    --------
    A line annotated one voxel beside the predicted one costs less than the squared error says:

    >>> from neuroconn.loss import mse
    >>> y = torch.arange(9.0).sub(4).abs().expand(1, 1, 9, 9, 9)
    >>> aside = Graph([[4, 0, 5], [4, 8, 5]], edges=[[0, 1]])
    >>> unmoved = snake(y, [aside], steps=0)
    >>> bool(snake(y, [aside]) < unmoved)
    True
    """
    term = SnakeLoss(
        tau=tau,
        alpha=alpha,
        beta=beta,
        sigma=sigma,
        external=external,
        steps=steps,
        clip=clip,
        longest_edge=longest_edge,
        gradient=gradient,
        context=context,
    )
    loss: Tensor = term(prediction, prediction, term.snakes(prediction, graphs))
    return loss


class SnakeLoss(Term):
    """Module twin of `snake`; takes the same options.

    Examples
    --------
    >>> y = torch.rand(1, 1, 8, 8, 8)
    >>> line = Graph([[4, 0, 4], [4, 7, 4]], edges=[[0, 1]])
    >>> term = SnakeLoss(clip=10.0)
    >>> prepared = [term.prepare(np.zeros((8, 8, 8), np.float32), line)]
    >>> bool(term(y, y, prepared) == snake(y, [line]))
    True
    """

    wants_graph = True

    def __init__(
        self,
        *,
        tau: float = 0.1,
        alpha: float = 1e-2,
        beta: float = 1e-2,
        sigma: float = 0.5,
        external: float = 2.0,
        steps: int = 10,
        clip: float = 10.0,
        longest_edge: float = 5.0,
        gradient: bool = True,
        context: bool = True,
    ) -> None:
        super().__init__()
        self.gradient = gradient
        self.settings = SnakeSettings(
            tau, alpha, beta, sigma, external, steps, clip, longest_edge, context
        )

    def prepare(self, distance: NDArray[np.float32], graph: Graph | None) -> Snake:
        """Cut the annotation at the crop, split its edges and invert its energy.

        Parameters
        ----------
        distance : ndarray of float32, shape (z, y, x)
            Only its shape is used.
        graph : Graph
            The annotation in voxels of the crop, augmented as the image is.

        Returns
        -------
        Snake

        Raises
        ------
        ValueError
            If there is no graph: a distance map cannot be moved.
        """
        if graph is None:
            raise ValueError(
                "the snake loss moves the annotation's graph, and this crop has none: "
                "train from SWC files or phantoms, not from distance maps alone"
            )
        return Snake.of(graph, distance.shape, self.settings)

    def snakes(self, prediction: Tensor, graphs: Sequence[Graph]) -> list[Snake]:
        """Prepare one graph for each crop of a batch."""
        if prediction.ndim != 5 or prediction.shape[1] != 1:
            raise ValueError(
                f"prediction must be of shape (batch, 1, z, y, x), got {tuple(prediction.shape)}"
            )
        if len(graphs) != len(prediction):
            raise ValueError(
                f"{len(prediction)} crops need as many graphs, got {len(graphs)}: "
                "an empty graph says that a crop has no annotation"
            )
        return [Snake.of(graph, prediction.shape[2:], self.settings) for graph in graphs]

    def forward(
        self, prediction: Tensor, target: Tensor, prepared: Sequence[Any] | None = None
    ) -> Tensor:
        """Loss of a batch; the ``target`` is not used, the snakes are.

        Parameters
        ----------
        prediction, target : Tensor, shape (batch, 1, z, y, x)
        prepared : sequence of Snake
            What :meth:`prepare` returned for each crop.

        Returns
        -------
        Tensor, scalar
        """
        snakes = _checked(prediction, prepared)
        with torch.autocast(prediction.device.type, enabled=False):
            y = prediction if prediction.dtype == torch.float64 else prediction.float()
            with torch.set_grad_enabled(self.gradient and torch.is_grad_enabled()):
                batch = Snakes(snakes, y)
                moved = batch.move(y, self.settings)
                goal = render(moved, batch.edges, y.shape[2:], clip=self.settings.clip)
            return (y - goal).square().mean()


def moved(prediction: Tensor, graphs: Sequence[Graph], **options: Any) -> list[Graph]:
    """Return the graphs where `snake` moves them: for pictures.

    Parameters
    ----------
    prediction : Tensor, shape (batch, 1, z, y, x)
        Distances in voxels.
    graphs : sequence of Graph
        The annotation of each crop, in voxels of the crop.
    **options
        Those of `snake`.

    Returns
    -------
    list of Graph
        Cut at the faces, with long edges split; radii are those of the annotation.

    Examples
    --------
    >>> y = torch.arange(9.0).sub(4).abs().expand(1, 1, 9, 9, 9)
    >>> aside = Graph([[4, 0, 5], [4, 8, 5]], edges=[[0, 1]])
    >>> moved(y, [aside])[0].positions[:, 2].round(1)
    array([4.1, 4.1, 4.1])
    """
    term = SnakeLoss(**options)
    snakes = term.snakes(prediction, graphs)
    with torch.no_grad():
        batch = Snakes(snakes, prediction.double())
        places = batch.move(prediction.double(), term.settings).cpu().numpy()
    parts = np.split(places, np.cumsum(batch.counts)[:-1])
    return [one.graph(part) for one, part in zip(snakes, parts, strict=True)]


def _checked(prediction: Tensor, prepared: Sequence[Any] | None) -> Sequence[Snake]:
    if prepared is None:
        raise ValueError(
            "the snake loss needs what prepare() made of each crop's graph: "
            "a target map alone does not say where the lines are"
        )
    shapes = [(1, *one.shape) for one in prepared]
    if [tuple(y.shape) for y in prediction] != shapes:
        raise ValueError(
            f"prediction of shape {tuple(prediction.shape)} does not fit snakes prepared for "
            f"crops of {sorted({shape[1:] for shape in shapes})}, {len(shapes)} in all"
        )
    return prepared
