"""What the programs build from their flags."""

import programs
import pytest

from trainers import _model


def rate_at(step, *args, steps_per_epoch=10):
    settings = programs.TRAIN.parse("--learning_rate=0.4", *args)
    rate = _model.learning_rate(settings, steps_per_epoch)
    return rate if isinstance(rate, float) else float(rate(step))


def test_learning_rate_stays_without_decay():
    assert rate_at(7, "--epochs=10") == 0.4


@pytest.mark.parametrize(("step", "rate"), [(0, 0.4), (50, 0.2), (100, 0.0)])
def test_learning_rate_falls_by_half_a_cosine(step, rate):
    args = ("--epochs=10", "--learning_rate_decay=cosine")
    assert rate_at(step, *args) == pytest.approx(rate, abs=1e-7)


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 0.04), (5, 0.22), (10, 0.4), (55, 0.2), (100, 0.0)]
)
def test_learning_rate_rises_over_a_tenth_before_it_falls(step, rate):
    args = ("--epochs=10", "--learning_rate_decay=warmup_cosine")
    assert rate_at(step, *args) == pytest.approx(rate, abs=1e-7)


def test_the_only_step_of_a_run_is_not_wasted():
    args = ("--epochs=1", "--learning_rate_decay=warmup_cosine")
    assert rate_at(0, *args, steps_per_epoch=1) == pytest.approx(0.4)


def test_weighing_raises_its_learning_rate_first():
    settings = programs.WEIGH.parse()
    assert settings.fit.learning_rate == 3e-3
    assert settings.fit.learning_rate_decay == "warmup_cosine"
