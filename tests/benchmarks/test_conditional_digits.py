"""The program that asks a conditional VAE for digits."""

import sys

import keras
import numpy as np
import pytest
from absl import flags

from benchmarks import conditional


def test_share_is_that_of_images_read_as_asked():
    reads_the_first_pixel = keras.Sequential(
        [keras.layers.Flatten(), keras.layers.CategoryEncoding(3, "multi_hot")]
    )
    images = np.array([0.0, 1.0, 2.0, 2.0]).reshape(4, 1, 1)
    share = conditional.share_read_as(reads_the_first_pixel, images, [0, 1, 2, 0])
    assert share == 0.75


@pytest.mark.slow
def test_quick_run_prints_a_row(capsys, monkeypatch):
    values = flags.FlagValues()
    monkeypatch.setattr(conditional.flags, "FLAGS", values)
    monkeypatch.setattr(conditional, "FLAGS", values)
    conditional.define_flags(values)
    values([sys.argv[0], "--quick", "--number=20"])
    conditional.main([])
    *_, row = capsys.readouterr().out.splitlines()
    assert row.count("%") == 2
