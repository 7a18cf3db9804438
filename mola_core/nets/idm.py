"""One inverse dynamics model: what changed between two pictures, as a few discrete latent actions (paper, section 3.3)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mola_core.nets.attention import TransformerBlock
from mola_core.nets.batch_standard import BatchStandard1d
from mola_core.nets.codebook import Codebook
from mola_core.nets.config import IdmConfig
from mola_core.nets.protocols import LatentActions


class SpatiotemporalTransformer(nn.Module):
    """Latent-action queries among the tokens of both pictures: one sequence [Q queries | N now | 1 separator | N future]."""

    def __init__(self, config: IdmConfig, *, token_width: int, num_tokens: int) -> None:
        super().__init__()
        self.num_queries = config.num_queries
        length = config.num_queries + 2 * num_tokens + 1
        self.enter = nn.Linear(token_width, config.width)
        self.queries = nn.Parameter(0.02 * torch.randn(1, config.num_queries, config.width))
        self.separator = nn.Parameter(0.02 * torch.randn(1, 1, config.width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, length, config.width))
        self.kinds = nn.Parameter(0.02 * torch.randn(2, config.width))
        """Of what belongs to now, and of what belongs to the future."""
        self.blocks = nn.ModuleList(
            TransformerBlock(config.width, heads=config.heads, mlp_width=config.mlp_width, eps=1e-12)
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width, eps=1e-12)

    def forward(self, now: Float[Tensor, "B N D"], future: Float[Tensor, "B N D"]) -> Float[Tensor, "B Q W"]:
        batch = now.shape[0]
        queries = self.queries.expand(batch, -1, -1)
        separator = self.separator.expand(batch, -1, -1)
        tokens = torch.cat(
            (
                torch.cat((queries, self.enter(now), separator), dim=1) + self.kinds[0],
                self.enter(future) + self.kinds[1],
            ),
            dim=1,
        )  # B Q+N+1+N W
        tokens = tokens + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        out: Tensor = self.norm(tokens[:, : self.num_queries])
        return out


class Idm(nn.Module):
    """Transformer, projection down, codebook, projection up; an ``InverseDynamicsModel``.

    Where vectors are standardised, the parts named in ``wide`` compute in full precision, whatever the rest does: half precision would
    round away what is to be told apart.
    """

    def __init__(self, config: IdmConfig, *, token_width: int, num_tokens: int) -> None:
        super().__init__()
        self.num_queries = config.num_queries
        self.width = config.width
        code = config.codebook.width
        self.transformer = SpatiotemporalTransformer(config, token_width=token_width, num_tokens=num_tokens)
        self.down = nn.Sequential(nn.Linear(config.width, config.width), nn.Tanh(), nn.Linear(config.width, code))
        standardised = config.codebook.standardised
        # eps far below what pictures of one scene differ by: their vectors are alike in the first two digits
        self.standard = BatchStandard1d(config.num_queries * code, eps=1e-8) if standardised else None
        self.codebook = Codebook(config.codebook)
        self.wide = ("down", "standard", "codebook") if standardised else ()
        self.up = nn.Sequential(nn.Linear(code, code), nn.Tanh(), nn.Linear(code, config.width))

    def forward(self, now: Float[Tensor, "B N D"], future: Float[Tensor, "B N D"]) -> LatentActions:
        read = self.transformer(now, future)
        quantised = self.codebook(self._vectors(read))
        return LatentActions(
            embeddings=self.up(quantised.vectors.to(read.dtype)),  # B Q W
            code_indices=quantised.indices,
            commitment_loss=quantised.loss,
        )

    def _vectors(self, read: Float[Tensor, "B Q W"]) -> Float[Tensor, "B Q E"]:
        if self.standard is None:
            vectors: Tensor = self.down(read)
            return vectors
        with torch.autocast(read.device.type, enabled=False):
            each = self.down(read.float())
            standard: Tensor = self.standard(each.flatten(1)).reshape(each.shape)
            return standard


class DirectModality(nn.Module):
    """A modality's own features of the future, without inverse dynamics or codebook (direct multimodal input; paper, table 13).

    Behind the same interface: the queries read only the future, and what they read goes on unquantised; code indices are all 0.
    """

    def __init__(self, config: IdmConfig, *, token_width: int, num_tokens: int) -> None:
        super().__init__()
        self.num_queries = config.num_queries
        self.width = config.width
        self.transformer = SpatiotemporalTransformer(config, token_width=token_width, num_tokens=num_tokens)

    def forward(self, now: Float[Tensor, "B N D"], future: Float[Tensor, "B N D"]) -> LatentActions:
        read = self.transformer(torch.zeros_like(now), future)  # B Q W
        none = torch.zeros(read.shape[:2], dtype=torch.int64, device=read.device)
        return LatentActions(embeddings=read, code_indices=none, commitment_loss=read.new_zeros(()))
