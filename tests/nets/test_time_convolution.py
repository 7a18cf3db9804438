"""Convolutions over time alone equal the three-dimensional ones that they replace, in any layout."""

import pytest
import torch
from torch import nn

from mola_core.export.gpu_layout import lay_out_for_gpu
from mola_core.nets.time_convolution import TimeConvolution, install_time_convolutions


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Conv3d(8, 12, (3, 1, 1), padding=(1, 0, 0))
        self.space_and_time = nn.Conv3d(12, 8, 3, padding=1)
        self.single = nn.Conv3d(8, 8, 1)
        self.picture = nn.Conv2d(8, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.picture(self.single(self.space_and_time(self.time(x))).flatten(1, 2)[:, :8])
        return out


def test_only_what_sees_time_alone_is_replaced_and_weights_keep_their_names() -> None:
    net = Net()
    names = list(net.state_dict())
    assert install_time_convolutions(net) == 1
    assert install_time_convolutions(net) == 0, "once is enough"
    assert isinstance(net.time, TimeConvolution)
    assert list(net.state_dict()) == names


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_the_answer_stays_the_same(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    net, x = Net(), torch.randn(2, 8, 5, 4, 6).contiguous(memory_format=layout)
    before, after_time = net(x), net.time(x)
    lay_out_for_gpu(net)
    torch.testing.assert_close(net.time(x), after_time)
    torch.testing.assert_close(net(x), before, rtol=1e-4, atol=1e-5)
    assert net.picture.weight.is_contiguous(memory_format=torch.channels_last)
