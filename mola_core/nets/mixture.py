"""The mixture: several inverse dynamics models side by side over the same transition."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mola_core.nets.codebook import CodeUsage
from mola_core.nets.config import MixtureConfig
from mola_core.nets.idm import DirectModality, Idm
from mola_core.nets.protocols import LatentActions
from mola_core.nets.tokens import Transition


class MixtureOfIdms(nn.Module):
    """Latent actions by the name of the member; joined they stand in the order of the configuration."""

    def __init__(self, config: MixtureConfig, *, token_width: int, num_tokens: int) -> None:
        super().__init__()
        self.width = config.idm.width
        self.num_queries = config.idm.num_queries
        self.num_latents = len(config.members) * config.idm.num_queries
        kinds = {"codebook": Idm, "none": DirectModality}
        self.members = nn.ModuleDict(
            {
                member.name: kinds[member.bottleneck](config.idm, token_width=token_width, num_tokens=num_tokens)
                for member in config.members
            }
        )

    def forward(self, transition: Transition) -> dict[str, LatentActions]:
        return {name: member(transition.now, transition.future) for name, member in self.members.items()}

    @staticmethod
    def joined(latent_actions: dict[str, LatentActions]) -> Float[Tensor, "B MQ D"]:
        return torch.cat([actions.embeddings for actions in latent_actions.values()], dim=1)

    def without_others(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights of a larger mixture, by name, without those of members that this one does not have."""
        names = {name: name.split(".", 2) for name in weights}
        return {name: weights[name] for name, path in names.items() if path[0] != "members" or path[1] in self.members}

    def code_usage(self) -> dict[str, CodeUsage]:
        """Of every member that has a codebook."""
        return {name: member.codebook.code_usage() for name, member in self.members.items() if isinstance(member, Idm)}
