"""The quantiser: nearest rows, gradients past the rounding, and no code that stays dead."""

import pytest
import torch

from mola_core.nets.codebook import Codebook, CodeUsage, perplexity_of
from mola_core.nets.config import CodebookConfig, IdmConfig
from mola_core.nets.idm import Idm

CONFIG = CodebookConfig(size=16, width=4, usage_decay=0.9, dead_below=0.1)


def test_each_vector_gets_its_nearest_code():
    codebook = Codebook(CONFIG).eval()
    vectors = torch.randn(3, 5, 4)

    quantised = codebook(vectors)

    nearest = torch.cdist(vectors.flatten(0, 1), codebook.codes).argmin(dim=-1).view(3, 5)
    assert torch.equal(quantised.indices, nearest)
    torch.testing.assert_close(quantised.vectors, codebook.codes[nearest], rtol=0, atol=1e-6)


def test_gradients_pass_the_rounding_unchanged_and_codes_follow_their_vectors():
    codebook = Codebook(CONFIG).eval()
    vectors = torch.randn(3, 5, 4, requires_grad=True)

    quantised = codebook(vectors)
    (quantised.vectors * 2).sum().backward()
    assert torch.equal(vectors.grad, torch.full_like(vectors, 2.0))
    assert codebook.codes.grad is None

    codebook(vectors).loss.backward()
    used = codebook.codes.grad.abs().sum(dim=-1) > 0
    assert set(used.nonzero().flatten().tolist()) == set(quantised.indices.flatten().tolist())


def test_the_first_batch_lays_out_the_codes_and_loaded_ones_stay():
    codebook = Codebook(CONFIG).train()
    far = 100 + torch.randn(8, 4, 4)

    codebook(far)
    assert codebook.codes.mean() > 90

    other = Codebook(CONFIG).train()
    other.load_state_dict(codebook.state_dict())
    kept = other.codes.clone()
    other(far + 0.1)
    assert torch.equal(other.codes, kept)


def test_codes_that_nobody_uses_are_put_among_the_vectors():
    codebook = Codebook(CONFIG).train()
    codebook.started.fill_(True)
    with torch.no_grad():
        codebook.codes.fill_(50.0)
        codebook.codes[0] = 0.0
    vectors = torch.randn(64, 2, 4)

    for _ in range(200):
        codebook(vectors)

    usage = codebook.code_usage()
    assert usage.used == 16
    assert usage.perplexity > 8
    assert codebook.codes.abs().max() < 10


def test_usage_says_what_was_chosen_also_where_all_vectors_are_alike():
    """Codes that are put elsewhere again and again are not in use for that."""
    codebook = Codebook(CONFIG).train()
    for _ in range(100):
        codebook(torch.ones(32, 2, 4))
    assert codebook.code_usage().perplexity < 1.5
    assert perplexity_of(codebook(torch.ones(32, 2, 4)).indices, size=16) == 1.0


def test_vectors_that_hardly_differ_are_told_apart_where_they_are_standardised():
    config = IdmConfig(num_queries=2, layers=1, width=16, heads=2, mlp_width=16, codebook=CONFIG)
    told = {}
    for standardised in (False, True):
        torch.manual_seed(0)
        codebook = CONFIG.model_copy(update={"standardised": standardised})
        idm = Idm(config.model_copy(update={"codebook": codebook}), token_width=8, num_tokens=3).train()
        now = torch.randn(1, 3, 8).expand(64, -1, -1)
        future = now + 0.02 * torch.randn(64, 3, 8)
        with torch.no_grad():
            idm.codebook.codes.copy_(torch.randn(16, 4))
        idm.codebook.started.fill_(True)
        told[standardised] = perplexity_of(idm(now, future).code_indices, size=16)
    assert told[False] < 2.0
    assert told[True] > 5.0


def test_evaluation_changes_nothing():
    codebook = Codebook(CONFIG).eval()
    before = {name: value.clone() for name, value in codebook.state_dict().items()}
    codebook(100 * torch.randn(64, 2, 4))
    assert all(torch.equal(before[name], value) for name, value in codebook.state_dict().items())


def test_perplexity_counts_codes_as_if_they_were_used_alike():
    assert CodeUsage(shares=torch.full((8,), 1 / 8)).perplexity == pytest.approx(8.0)
    assert CodeUsage(shares=torch.tensor([1.0, 0.0, 0.0])).perplexity == 1.0
