"""Networks made elsewhere, whose layers are not known: TorchScript programs and ONNX graphs.

Both are programs. TorchScript is read by ``torch.jit.load`` alone: its own reader rebuilds tensors
and TorchScript code and calls no Python. That code is made of torch's operators; it cannot import,
open sockets or start processes, but it can take any amount of time and memory, and an operator that
reads a file can be among them. So a model still comes from somebody who is trusted.
"""

from __future__ import annotations

import copy
import io
import warnings
from abc import abstractmethod
from math import prod
from typing import Any, Self

import torch
from torch import Tensor, nn

from neuroconn.errors import HaloError, ModelError, UsageError
from neuroconn.geometry import ZYX
from neuroconn.network.base import Activations, Network
from neuroconn.network.foreign import Foreign, Weights
from neuroconn.network.receptive import Interval

_GUESS = 1024
"""Bytes a voxel takes at the peak where nothing is known: a U-Net of 32 channels in float32."""


class BlackBox(Network):
    """A network that maps a (1, 1, z, y, x) image to a map, and says nothing else of itself.

    Parameters
    ----------
    about : Foreign
        What its card says.
    clip : float
        Where its distances are cut off, in voxels.
    """

    castable = False
    differentiable = False
    """Whether torch can say how its output depends on its input."""

    def __init__(self, about: Foreign, clip: float) -> None:
        super().__init__()
        self.about, self.clip = about, clip
        self.memory = about.memory or _GUESS
        self._halo = about.halo

    @abstractmethod
    def run(self, x: Tensor) -> Tensor:
        """Whatever it answers to an image."""

    @abstractmethod
    def placed(self, device: str) -> Self:
        """Return a copy that runs on ``device``."""

    @property
    def stride(self) -> int:
        """Pooling grid, as its card says."""
        return self.about.stride

    @property
    def output_layer(self) -> nn.Conv3d:
        """Not known."""
        raise TypeError(f"the layers of a {self.about.name} model are not known")

    def features(self, x: Tensor, trim: ZYX = (0, 0, 0)) -> Tensor:
        """Its output, (1, 1, z, y, x), without ``trim`` on each face."""
        return self.chosen(self.run(x), x.shape, trim)

    def chosen(self, out: Tensor, asked: torch.Size, trim: ZYX) -> Tensor:
        """Take the map out of what the program answered.

        Parameters
        ----------
        out : Tensor
            The answer.
        asked : torch.Size
            Shape of the image.
        trim : (z, y, x) ints
            What to leave out on each face.

        Raises
        ------
        ModelError
            If it answers with another shape, or with channels its card does not choose from.
        """
        channel = self.about.channel
        if out.ndim != 5 or out.shape[2:] != asked[2:]:
            raise ModelError(
                f"the model answers {tuple(asked)} with {tuple(out.shape)}, which is no map of "
                "every voxel (batch, channel, z, y, x)"
            )
        if out.shape[1] <= (channel or 0) or (channel is None and out.shape[1] != 1):
            raise ModelError(
                f"the model answers with {out.shape[1]} channels: say in its card which one is "
                "the map (architecture.channel)"
            )
        z, y, x = (slice(t, n - t) for t, n in zip(trim, out.shape[2:], strict=True))
        first = channel or 0
        return out[:, first : first + 1, z, y, x]

    def head(self, features: Tensor) -> Tensor:
        """Distance in voxels of its output."""
        if self.about.output == "probability":
            return self.clip * (1 - features.clamp(0.0, 1.0))
        return (features * self.about.scale).clamp(min=0.0)

    @property
    def halo_known(self) -> bool:
        """Whether :meth:`reach` answers without a measurement."""
        return self._halo is not None

    def reach(self, output: Interval) -> Interval:
        """Input voxels of an output, from the halo its card states or that was measured.

        Raises
        ------
        HaloError
            If no halo is large enough.
        """
        if self._halo is None:
            # Imported here: it needs this class.
            from neuroconn.network.probing import measured_halo

            self._halo = measured_halo(self)
        stride = self.stride
        first, last = output.first // stride * stride, -(-(output.last + 1) // stride) * stride - 1
        return Interval(first - self._halo, last + self._halo)

    def activations(
        self, tile: ZYX, trim: ZYX = (0, 0, 0), planes: int | None = None
    ) -> Activations:
        """Of its inner tensors nothing is known but the memory; see :attr:`memory`."""
        return Activations(largest=prod(tile), peak=self.memory * prod(tile) // 8)

    def architecture(self) -> dict[str, Any]:
        """Return the card's own words."""
        return self.about.model_dump(mode="json")

    def check_tile(self, tile: ZYX) -> None:
        """Refuse a tile that it does not take.

        Raises
        ------
        HaloError
            Naming the only one.
        """
        if self.about.tile is not None and tile != self.about.tile:
            raise HaloError(
                f"the model takes tiles of {self.about.tile} only, not {tile}: set chunk and halo "
                "so that chunk + 2 * halo is that"
            )


class TorchScriptNetwork(BlackBox):
    """A TorchScript program.

    Raises
    ------
    ModelError
        If it cannot be loaded, or holds weights that are not finite.
    """

    differentiable = True

    def __init__(self, weights: Weights, about: Foreign, clip: float) -> None:
        super().__init__(about, clip)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # deprecated by torch, not by those who export
                program = torch.jit.load(  # type: ignore[no-untyped-call]
                    io.BytesIO(weights.data), map_location="cpu"
                )
        except (RuntimeError, ValueError, OSError) as error:
            reason = _last_line(error)
            raise ModelError(
                f"{weights.source} cannot be loaded as TorchScript: {reason}"
            ) from None
        self.program = program.eval()
        tensors = [*self.program.parameters(), *self.program.buffers()]
        if not all(torch.isfinite(t).all() for t in tensors if t.is_floating_point()):
            raise ModelError(
                f"{weights.source} has weights that are NaN or infinite: every prediction would be "
                "NaN. Export the model again from an earlier checkpoint."
            )

    def run(self, x: Tensor) -> Tensor:
        """Run the program, without the optimiser that would time and rewrite it first."""
        try:
            with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
                out = self.program(x)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            if "allocate memory" in str(error):
                raise
            raise ModelError(
                f"the model fails on an image of {tuple(x.shape)}: {_last_line(error)}"
            ) from None
        return _tensor(out)

    def placed(self, device: str) -> Self:
        """Copy the program."""
        return copy.deepcopy(self).to(device)


class OnnxNetwork(BlackBox):
    """An ONNX graph, run by onnxruntime.

    Raises
    ------
    UsageError
        If onnxruntime is not installed, or cannot use the device.
    ModelError
        If the graph cannot be loaded, or has no single image input.
    """

    def __init__(self, weights: Weights, about: Foreign, clip: float, device: str = "cpu") -> None:
        super().__init__(about, clip)
        self.weights = weights
        self._session = _session(weights, device)
        self.input = _one_of(self._session.get_inputs(), about.input_name, "inputs", weights)
        self.output = _one_of(
            self._session.get_outputs()[: None if about.output_name else 1],
            about.output_name,
            "outputs",
            weights,
        )

    def run(self, x: Tensor) -> Tensor:
        """Run the graph; tensors of a GPU go through main memory."""
        try:
            (out,) = self._session.run(
                [self.output], {self.input: x.detach().float().contiguous().cpu().numpy()}
            )
        except Exception as error:  # onnxruntime's errors have no common class
            raise ModelError(
                f"the model fails on an image of {tuple(x.shape)}: {_last_line(error)}"
            ) from None
        return torch.from_numpy(out).to(x.device)

    def placed(self, device: str) -> Self:
        """Make a session of its own: the device is chosen when it is made."""
        return type(self)(self.weights, self.about, self.clip, device)


def _session(weights: Weights, device: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError(
            f"ONNX models need onnxruntime, which is not installed here ({error}): "
            "pip install 'neuroconn[onnx]' on every worker"
        ) from None
    providers = ["CPUExecutionProvider"]
    if device == "cuda":
        providers.insert(0, "CUDAExecutionProvider")
        if providers[0] not in onnxruntime.get_available_providers():
            raise UsageError(
                "this onnxruntime has no CUDA: pip install onnxruntime-gpu, or set device: cpu"
            )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(weights.data, options, providers=providers)
    except Exception as error:  # onnxruntime's errors have no common class
        raise ModelError(
            f"{weights.source} cannot be loaded as ONNX: {_last_line(error)}"
        ) from None


def _one_of(found: list[Any], name: str, kind: str, weights: Weights) -> str:
    names = [item.name for item in found]
    if name in names:
        return name
    if name or len(names) != 1:
        raise ModelError(
            f"{weights.source} has the {kind} {', '.join(names)}: name one in its card "
            f"(architecture.{kind[:-1]}_name)"
        )
    return str(names[0])


def _tensor(out: Any) -> Tensor:
    while isinstance(out, tuple | list) and out:
        out = out[0]
    if not isinstance(out, Tensor):
        raise ModelError(f"the model answers with a {type(out).__name__}, not with a tensor")
    return out


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
