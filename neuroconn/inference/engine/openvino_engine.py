"""The same networks computed by OpenVINO, which is up to twice as fast on CPUs.

Its graph is built here, layer by layer, from the trained network: nothing is traced, no file is
written. The features are OpenVINO's; the head is that of the torch engine, in float32.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neuroconn.errors import UsageError
from neuroconn.geometry import ZYX
from neuroconn.inference.engine.errors import NonFiniteOutputError
from neuroconn.inference.engine.folding import prepare
from neuroconn.network.base import Network
from neuroconn.network.blackbox import OnnxNetwork
from neuroconn.network.unet import UNet

_HINTS = {"float32": "f32", "bfloat16": "bf16"}
_END = 2**31 - 1
_ABSURD = 1e6


class OpenVinoBody:
    """A network of this package, compiled for one tile shape on the CPU.

    Parameters
    ----------
    network : Network
        As trained; left as it is.
    precision : {"float32", "bfloat16"}
        Arithmetic of the features.
    tile, trim : (z, y, x) ints
        Shape of every tile, and what is left out of the output on each face.
    threads : int
        Threads that compute; their number is fixed, they are not bound to cores, so that the
        workers of one machine do not meet on the first ones.

    Raises
    ------
    UsageError
        If OpenVINO is missing here, or has no graph for this network or precision.
    """

    def __init__(
        self, network: Network, precision: str, tile: ZYX, trim: ZYX, threads: int
    ) -> None:
        if precision not in _HINTS:
            raise UsageError(f"engine openvino computes in {' or '.join(_HINTS)}, not {precision}")
        openvino = import_openvino()
        core = openvino.Core()
        self.network, self._trim = prepare(network, torch.float32, "cpu"), trim
        if isinstance(network, OnnxNetwork):
            model = _onnx(core, network, tile)
        else:
            model = graph(openvino, self.network, tile, trim)
        hints = {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
        }
        # The plugin gives the thread that first compiles a signal stack of its own, too small for
        # processors with AMX: the next Ctrl-C there would crash. So that thread ends here.
        with ThreadPoolExecutor(1) as apart:
            self._compiled: Any = apart.submit(core.compile_model, model, "CPU", hints).result()
        self._request: Any = self._compiled.create_infer_request()

    def features(self, x: Tensor) -> Iterator[Tensor]:
        """Compute the features of one tile; they are valid until the next one.

        Raises
        ------
        NonFiniteOutputError
            If the image is NaN or absurdly bright. OpenVINO's ReLU makes 0 of NaN, which is a
            distance, so what could become NaN on the way is not let in.
        """
        if not float(x.abs().amax()) < _ABSURD:  # NaN is not below anything
            raise NonFiniteOutputError(
                "the image is NaN, or further from 0 than a million after normalisation"
            )
        self._request.infer([x.numpy()], share_inputs=True, share_outputs=True)
        out = torch.from_numpy(self._request.get_output_tensor(0).data)
        if isinstance(self.network, OnnxNetwork):
            yield self.network.chosen(out, x.shape, self._trim)
        else:
            # Channels last in memory, the order in which the head is fast.
            yield out.movedim(-1, 1)

    def head(self, features: Tensor) -> Tensor:
        """Apply the output layer."""
        return self.network.head(features)

    def shrink(self) -> bool:
        """Do nothing: the graph is compiled for whole tiles."""
        return False


def import_openvino() -> Any:
    """Import OpenVINO, without the part of it that reports its use to its makers.

    Raises
    ------
    UsageError
        If it is not installed, naming the extra.
    """
    if "openvino" not in sys.modules:
        # Its telemetry makes a folder in the user's home, on every node; absent, it is not missed.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise UsageError(
            f"engine openvino is not installed here ({error}): pip install 'neuroconn[openvino]' "
            "on every worker, or set engine: torch"
        ) from None
    return openvino


def check_network(network: Network) -> None:
    """Refuse a network that this engine has no graph for.

    Raises
    ------
    UsageError
        If it is none of a U-Net and an ONNX model.
    """
    if not isinstance(network, UNet | OnnxNetwork):
        raise UsageError(
            f"engine openvino cannot build a {type(network).__name__}; set engine: torch"
        )


def graph(openvino: Any, network: Network, tile: ZYX, trim: ZYX) -> Any:
    """Build OpenVINO's graph of the features of a folded network.

    Raises
    ------
    UsageError
        If the network has layers for which there is no rule here.
    """
    check_network(network)
    assert isinstance(network, UNet)
    build = _Builder(openvino.opset13)
    image = build.ops.parameter([1, network.in_channels, *tile], np.float32)
    features = build.channels_last(_unet(build, network, image, trim))
    return openvino.Model([features], [image], "features")


def _onnx(core: Any, network: OnnxNetwork, tile: ZYX) -> Any:
    """Read an ONNX graph for one tile shape, with the output its card names."""
    try:
        model = core.read_model(network.weights.data)
        model.reshape({network.input: [1, 1, *tile]})
        if [out.any_name for out in model.outputs] != [network.output]:
            raise UsageError("engine openvino takes ONNX models of one output; set engine: torch")
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise UsageError(
            f"engine openvino cannot read {network.weights.source} for tiles of {tile} ({reason}); "
            "set engine: torch"
        ) from None
    return model


def _unet(build: _Builder, network: UNet, x: Any, trim: ZYX) -> Any:
    """Follow :meth:`UNet.features`."""
    skips, cuts = [], network.cuts(trim)
    for encoder in network.encoders:
        x = build.block(x, encoder)
        skips.append(x)
        x = build.pool(x)
    x = build.cut(build.block(x, network.bottom), cuts[-1][1])
    upwards = zip(reversed(network.ups), reversed(network.decoders), cuts[-2::-1], strict=True)
    for up, decoder, (before, after) in upwards:
        joined = build.ops.concat([build.cut(skips.pop(), before), build.up(x, up)], 1)
        x = build.cut(build.block(joined, decoder), after)
    return x


class _Builder:
    """Torch layers as OpenVINO operations."""

    def __init__(self, ops: Any) -> None:
        self.ops = ops

    def block(self, x: Any, layers: Any) -> Any:
        for layer in layers:
            if isinstance(layer, nn.Conv3d):
                x = self._convolution(x, layer)
            elif isinstance(layer, nn.ReLU):
                x = self.ops.relu(x)
            else:
                raise UsageError(
                    f"engine openvino has no rule for {type(layer).__name__}; set engine: torch"
                )
        return x

    def _convolution(self, x: Any, layer: nn.Conv3d) -> Any:
        if isinstance(layer.padding, str) or layer.groups != 1:
            raise UsageError("engine openvino has no rule for this Conv3d; set engine: torch")
        pads = list(layer.padding)
        out = self.ops.convolution(
            x, self._constant(layer.weight), list(layer.stride), pads, pads, list(layer.dilation)
        )
        return self._biased(out, layer.bias)

    def up(self, x: Any, layer: Any) -> Any:
        out = self.ops.convolution_backprop_data(
            x,
            self._constant(layer.weight),
            list(layer.stride),
            pads_begin=[0] * 3,
            pads_end=[0] * 3,
            dilations=[1] * 3,
        )
        return self._biased(out, layer.bias)

    def pool(self, x: Any) -> Any:
        return self.ops.max_pool(x, [2] * 3, [1] * 3, [0] * 3, [0] * 3, [2] * 3).output(0)

    def cut(self, x: Any, margin: Sequence[int]) -> Any:
        """Leave out ``margin`` voxels on both faces of each axis."""
        if not any(margin):
            return x
        numbers = list(margin), [-m or _END for m in margin], [1] * 3, [2, 3, 4]
        return self.ops.slice(x, *(self.ops.constant(np.array(n, np.int64)) for n in numbers))

    def channels_last(self, x: Any) -> Any:
        return self.ops.transpose(x, self.ops.constant(np.array([0, 2, 3, 4, 1], np.int64)))

    def _biased(self, x: Any, bias: Tensor | None) -> Any:
        return x if bias is None else self.ops.add(x, self._constant(bias.view(1, -1, 1, 1, 1)))

    def _constant(self, tensor: Tensor) -> Any:
        # Contiguous in the plain order of axes, whatever torch's memory format.
        return self.ops.constant(np.ascontiguousarray(tensor.detach().numpy()))
