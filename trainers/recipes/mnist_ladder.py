"""Ladder VAE of five levels on MNIST, binarised anew in each epoch, in 200 epochs.

    python -m trainers.train --config=mnist_ladder --data_dir=../shared/data

z 64-32-16-8-4 beside dense layers of 512-256-128-64-32 units, with batch normalization
and a warm-up over half of the run, in the manner of Sonderby et al. Takes about 30
minutes of training on 2 CPU cores. Their best Ladder VAE, trained ten times as long,
has 81.74 nats of -log p(x) (https://arxiv.org/abs/1602.02282); the bound of a run is
`trainers.evaluate --importance_samples=5000`. Without the ladder pass
`--model=bottom_up`; `python -m benchmarks.hierarchies` has all four combinations.
"""

FLAGS = {
    "dataset": "mnist",
    "binarize": "dynamic",
    # All 60,000 images train, and the last epoch is reported.
    "validation_fraction": 0,
    "model": "ladder",
    "levels": [64, 32, 16, 8, 4],
    "hidden": [512, 256, 128, 64, 32],
    "batch_normalization": True,
    "schedule": "linear",
    "warmup": "50%",
    "epochs": 200,
    "batch_size": 100,
    "learning_rate": 1e-3,
}
