"""Everything a worker needs to know to infer any chunk of a run, but not where it runs."""

from __future__ import annotations

from dataclasses import dataclass

from neuroconn.config.infer import EvidenceRules
from neuroconn.geometry import ZYX, ChunkGrid
from neuroconn.inference.damage import OnDamage
from neuroconn.inference.encoding import Encoding
from neuroconn.network.normalisation import Constants
from neuroconn.volume.address import Address
from neuroconn.volume.regions import Pad


@dataclass(frozen=True, slots=True)
class Plan:
    """A run as its workers see it; a small value that is sent to each of them once."""

    run_id: str
    """Identity of the run: equal plans give equal bytes."""
    brain: Address
    level: int
    """Level of the brain that is inferred."""
    output: Address
    model: str
    """Folder of the model, or the name of a shipped one."""
    model_sha256: str
    """What the weights must be; a worker that finds others refuses."""
    grid: ChunkGrid
    """Chunks of the output; each is one stored object."""
    halo: int
    trim: int
    """Outermost voxels of the halo that nobody asks for: seen by the network, not predicted."""
    padding: Pad
    """What the network sees outside the brain."""
    constants: Constants
    """Grey values to network input, one set for the whole brain."""
    rules: EvidenceRules
    encoding: Encoding
    precision: str
    """``auto``, ``float32``, ``bfloat16`` or ``float16``."""
    device: str
    """``auto``, ``cpu`` or ``cuda``."""
    engine: str = "torch"
    """``torch`` or ``openvino``."""
    network: str = ""
    """Digest of what the model's card says of its architecture; a worker that reads another card
    refuses."""
    brain_digest: str = ""
    """Of :func:`neuroconn.inference.identity.brain_identity`; a worker that finds another brain at
    the path refuses."""
    on_damage: OnDamage = "fail"
    """What becomes of damaged parts of the brain."""
    fsync: bool = False
    """Whether a core is on the disk itself, not only with the system, before its line is."""
    rehearsal: int = 0
    """Nothing is stored: cores are compressed in units of this side, and dropped."""
    versions: tuple[tuple[str, str], ...] = ()
    """Packages of the client that the workers must have too."""

    @property
    def tile(self) -> ZYX:
        """Shape of every block that is read: a network sees one shape only."""
        z, y, x = (c + 2 * self.halo for c in self.grid.chunk)
        return z, y, x
