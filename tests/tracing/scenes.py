"""What tracing tests trace."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from neuroconn.annotation import Forest, Graph, chains
from neuroconn.geometry import ZYX, Box
from neuroconn.phantom import Growth, Phantom, PhantomSettings, grow

Store = Callable[..., Path]
"""Writes a distance map; a fixture."""


def places(forest: Forest, step: float = 0.25) -> NDArray[np.float64]:
    """Points along a forest, each for the same length."""
    pieces = []
    for first, last in forest.segments:
        count = max(1, round(float(np.linalg.norm(last - first)) / step))
        shares = (np.arange(count) + 0.5) / count
        pieces.append(first + shares[:, None] * (last - first))
    return np.concatenate(pieces)


def ends(forest: Forest) -> NDArray[np.float64]:
    degrees = np.bincount(forest.edges.ravel(), minlength=len(forest))
    return forest.positions[degrees == 1]


def is_clear(neuron: Forest, others: list[Forest]) -> bool:
    """Whether a neuron has no short branches and touches neither itself nor others."""
    graph = Graph.from_forest(neuron)
    if neuron.length < 40 or chains(graph).sums(graph.lengths).min() < 14:
        return False
    links = coo_matrix((graph.lengths, graph.edges.T), (len(graph),) * 2).tocsr()
    way = dijkstra(links, directed=False)
    apart = np.linalg.norm(neuron.positions[:, None] - neuron.positions, axis=2)
    if ((apart < 10) & (way > 2.2 * apart + 8)).any():
        return False
    points = places(neuron, 1.0)
    return all(cKDTree(places(other, 1.0)).query(points)[0].min() > 9 for other in others)


def clear_neurons(seed: int, shape: ZYX, count: int) -> list[Forest]:
    rng = np.random.default_rng(seed)
    bounds = Box((8, 8, 8), tuple(n - 8 for n in shape))
    found: list[Forest] = []
    while len(found) < count:
        root = tuple(rng.uniform(15, np.array(shape) - 15))
        neuron = grow(Growth(length=220, branching=0.01), rng, root=root, bounds=bounds)
        if is_clear(neuron, found):
            found.append(neuron)
    return found


def phantom_map(forests: list[Forest], shape: ZYX, seed: int) -> NDArray[np.float32]:
    return Phantom(shape, forests, PhantomSettings(tortuosity=0), seed=seed).distance()


def crowded_map(shape: ZYX, seed: int, noise: float = 1.5) -> NDArray[np.float32]:
    """A map as a network writes it: touching neurites, holes, crumbs, a tenth of it mask."""
    rng = np.random.default_rng(seed)
    wrong = ndimage.gaussian_filter(rng.standard_normal(shape), 1) * noise
    courses = rng.uniform(-5, np.array(shape) + 5, (12, 2, 3))
    exact = phantom_map([Forest(course, [-1, 0]) for course in courses], shape, seed)
    return np.clip(exact + wrong, 0, 10).astype(np.float32)
