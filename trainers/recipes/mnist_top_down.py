"""Top-down hierarchy of residual states on static MNIST, a small VDVAE, in 20 epochs.

    python -m trainers.train --config=mnist_top_down --data_dir=../shared/data

Two levels of four latent channels at each of the resolutions 28, 14 and 7, 16 to 32
channels in the state. Bits are free in the warm-up alone. Gradients are shortened to a
norm of 200, and updates beyond 1,000 are skipped. Takes about 40 minutes of training on
2 CPU cores. Published hierarchies of maps are trained on GPUs: 82.14 nats of -ELBO on
the same data for three levels, 80.50 for twelve
(https://github.com/addtt/ladder-vae-pytorch). `python -m benchmarks.hierarchies
--rows="top-down,MLP VAE"` has it beside a VAE of equal time.
"""

FLAGS = {
    "dataset": "binarized_mnist",
    "model": "top_down",
    "network": "resnet",
    "filters": [16, 16, 32],
    "levels": [4, 4, 4, 4, 4, 4],
    "free_bits": 0.25,
    "free_bits_until": "10%",
    "clip_norm": 200,
    "skip_norm": 1000,
    "schedule": "linear",
    "warmup": "10%",
    "learning_rate_decay": "warmup_cosine",
    "epochs": 20,
    "batch_size": 100,
    "learning_rate": 1e-3,
}
