import numpy as np
import pytest
import tensorflow as tf

from keras_vae.objectives import BatchMean
from keras_vae.objectives import reduction


def test_without_weights_it_is_the_plain_mean():
    values = np.arange(12.0).reshape(4, 3)
    mean = BatchMean(4)
    np.testing.assert_allclose(mean(values), values.mean(axis=0))
    assert float(mean.weight) == 4.0
    assert mean(values).dtype == tf.float32


def test_the_divisor_is_the_sum_of_weights():
    values = np.float32([[1.0, 2.0], [7.0, -5.0], [5.0, 4.0]])
    mean = BatchMean(3, tf.constant([0.5, 0.0, 1.5]))
    np.testing.assert_allclose(mean(values), [(0.5 + 7.5) / 2, (1.0 + 6.0) / 2])
    assert float(mean.weight) == 2.0


def test_weight_zero_is_absence_and_weight_two_is_having_it_twice():
    values = np.float32([3.0, 8.0, 1.0])
    weighted = BatchMean(3, tf.constant([2.0, 0.0, 1.0]))(values)
    np.testing.assert_allclose(weighted, BatchMean(3)(np.float32([3.0, 3.0, 1.0])))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_of_weight_zero_does_not_matter(bad):
    mean = BatchMean(2, tf.constant([1.0, 0.0]))
    assert float(mean(tf.constant([4.0, bad]))) == 4.0


def test_no_gradient_passes_through_weight_zero():
    values = tf.Variable([4.0, 0.0])
    with tf.GradientTape() as tape:
        loss = BatchMean(2, tf.constant([1.0, 0.0]))(tf.math.log(values))
    np.testing.assert_allclose(tape.gradient(loss, values)[0], 0.25)
    assert float(loss) == pytest.approx(np.log(4.0))


def test_a_batch_without_weight_gives_zero():
    mean = BatchMean(3, tf.zeros(3))
    assert float(mean(tf.constant([1.0, 2.0, 3.0]))) == 0.0
    assert float(mean.weight) == 0.0


def test_an_empty_batch_gives_zero():
    assert float(BatchMean(0)(tf.zeros([0]))) == 0.0


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_half_precision_values_are_averaged_in_float32(dtype):
    values = tf.cast(tf.fill([4096], 256.0), dtype)
    mean = BatchMean(4096)(values)
    assert mean.dtype == tf.float32
    assert float(mean) == 256.0


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_sample_weight_is_one_per_example(shape):
    weight = reduction.check_sample_weight(np.ones(shape))
    assert weight.shape == (3,)


@pytest.mark.parametrize("shape", [(), (3, 2), (3, 1, 1)])
def test_other_sample_weights_are_errors(shape):
    with pytest.raises(ValueError, match="`sample_weight` must hold one weight"):
        reduction.check_sample_weight(np.ones(shape))
