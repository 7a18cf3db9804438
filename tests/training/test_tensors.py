"""Instructions as training hands them to the networks."""

import torch

from mola_core.nets.protocols import Instruction
from mola_core.training.tensors import withheld


def test_an_instruction_that_is_withheld_is_one_empty_word_and_the_others_stay() -> None:
    said = Instruction(
        tokens=torch.randn(2, 4, 3), mask=torch.tensor([[True, True, True, False]] * 2), pooled=torch.randn(2, 5)
    )
    some = withheld(said, where=torch.tensor([True, False]))
    assert not some.tokens[0].any()
    assert not some.pooled[0].any()
    assert some.mask[0].tolist() == [True, False, False, False]
    for name in ("tokens", "mask", "pooled"):
        assert torch.equal(getattr(some, name)[1], getattr(said, name)[1]), name
