"""Under what conditions a campaign of rollouts runs: everything that may change its outcome, and nothing else."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

Control = Literal["none", "same-frame", "noisy-frame", "wrong-instruction"]
CONTROLS: tuple[Control, ...] = ("none", "same-frame", "noisy-frame", "wrong-instruction")
"""What is withheld from the policy: nothing; the imagined future, replaced by the present, or by the present with noise (paper, table
14); or the right instruction, replaced by that of another task in the same scene."""


_SAID_WHERE_ASKED_FOR = ("video_steps", "action_steps")
"""Conditions that came later: unsaid, they leave the key of results that were written without them as it was."""


@dataclass(frozen=True)
class Conditions:
    """Comparable from run to run; its key names the file of results."""

    policy: str
    """``expert``, ``hold``, or the identity of a checkpoint or bundle (a digest of its weights)."""
    rig: str
    site: str
    """Digest of the site file."""
    variant: str
    control: Control = "none"
    execute_steps: int | None = None
    delay_ms: float = 0.0
    untold: bool = False
    time_limit_s: float | None = None
    video_steps: int | None = None
    """Denoising passes of the imagination (paper, table 10); None: the checkpoint's own."""
    action_steps: int | None = None
    """Integration steps of the head; None: the checkpoint's own."""

    @property
    def key(self) -> str:
        """12 hexadecimal digits, equal for equal conditions."""
        said = asdict(self)
        for name in _SAID_WHERE_ASKED_FOR:
            if said[name] is None:
                del said[name]
        text = json.dumps(said, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]
