"""The first frame that is laid over the live view comes from an episode or a picture; the node is tested on the graph."""

from pathlib import Path

import numpy as np
import pytest
from episode_bags import SIZE, picture, write_episode

from mola_core.contracts.errors import MolaError
from mola_nodes.teleop.overlay import OverlayError, blended, first_frame, write_png


def test_the_first_frame_of_an_episode_is_taken(tmp_path: Path):
    episode = write_episode(tmp_path, duration_ms=300)
    np.testing.assert_array_equal(first_frame(episode, camera="third_person"), picture(3))


def test_a_camera_that_the_episode_does_not_have_is_named(tmp_path: Path):
    episode = write_episode(tmp_path, duration_ms=300)
    with pytest.raises(MolaError, match="front"):
        first_frame(episode, camera="front")
    blind = write_episode(tmp_path / "blind", duration_ms=300, silent=lambda stream, _at_ms: stream == "third_person")
    with pytest.raises(OverlayError, match=r"has no frame of 'third_person'"):
        first_frame(blind, camera="third_person")


def test_a_folder_that_is_no_episode_is_said(tmp_path: Path):
    with pytest.raises(MolaError):
        first_frame(tmp_path, camera="third_person")


def test_a_picture_survives_the_file_and_is_blended_at_the_views_size(tmp_path: Path):
    first = picture(90)
    write_png(tmp_path / "deep" / "first.png", first)
    np.testing.assert_array_equal(first_frame(tmp_path / "deep" / "first.png", camera="third_person"), first)
    view = np.full((2 * SIZE[1], 2 * SIZE[0], 3), 100, dtype=np.uint8)
    mixed = blended(view, np.full_like(first, 200))
    assert mixed.shape == view.shape
    assert set(np.unique(mixed)) == {150}
