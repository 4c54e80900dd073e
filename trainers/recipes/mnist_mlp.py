"""MLP 784-200-200-50 on MNIST, binarised anew in each epoch.

python -m trainers.train --config=mnist_mlp --data_dir=../shared/data
"""

FLAGS = {
    "dataset": "mnist",
    "binarize": "dynamic",
    # The bound of the last epoch is the one to compare, and takes all 60,000 images.
    "validation_fraction": 0,
    "hidden": [200, 200],
    "latent_dim": 50,
    "schedule": "linear",
    "warmup": "10%",
    "epochs": 20,
    "batch_size": 100,
    "learning_rate": 2e-3,
    "learning_rate_decay": "cosine",
    "jit_compile": "true",
    "steps_per_execution": 60,
}
