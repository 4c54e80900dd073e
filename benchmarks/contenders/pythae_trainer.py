"""Pythae's `VAE` under its `BaseTrainer`."""

import logging
import tempfile
import time

import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE
from pythae.models import VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder
from pythae.models.nn import BaseEncoder
from pythae.trainers import BaseTrainer
from pythae.trainers import BaseTrainerConfig
from torch import nn

from benchmarks.contenders import pytorch
from benchmarks.contenders import shared

logging.disable(logging.WARNING)


class Encoder(BaseEncoder):
    """Gives a network's output the names that Pythae reads."""

    def __init__(self, network):
        nn.Module.__init__(self)
        self.network = network

    def forward(self, x):
        mean, log_variance = self.network(x).chunk(2, dim=1)
        return ModelOutput(embedding=mean, log_covariance=log_variance)


class Decoder(BaseDecoder):
    """The same; Pythae's cross-entropy takes probabilities."""

    def __init__(self, network):
        nn.Module.__init__(self)
        self.network = network

    def forward(self, z):
        return ModelOutput(reconstruction=torch.sigmoid(self.network(z)))


def mlp(data, batch_size=100):
    x = torch.from_numpy(shared.load(data))
    return _epochs(_vae(x, pytorch.mlp_networks(x.shape[1])), x, batch_size)


def conv(data, batch_size=64):
    x = torch.from_numpy(shared.load(data))[:, None]
    vae = _vae(x, pytorch.conv_networks(), shared.CONV_LATENTS)
    return _epochs(vae, x, batch_size)


def log_likelihood(data, num_samples):
    """`get_nll` without gradients, at that of several batch sizes which is fastest."""
    x = torch.from_numpy(shared.load(data))
    vae = _vae(x, pytorch.mlp_networks(x.shape[1]))
    sizes = [size for size in (100, 250, 500, 1000, 5000) if size <= num_samples]

    def negative(batch_size, x=x):
        with torch.no_grad():
            return -float(vae.get_nll(x, num_samples, batch_size))

    best = min(sizes, key=lambda size: _seconds(lambda: negative(size, x[:5])))
    return lambda: negative(best)


def _seconds(function):
    function()
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _vae(x, networks, latents=shared.LATENTS):
    config = VAEConfig(
        input_dim=tuple(x.shape[1:]), latent_dim=latents, reconstruction_loss="bce"
    )
    encoder, decoder = networks
    return VAE(config, encoder=Encoder(encoder), decoder=Decoder(decoder))


def _epochs(vae, x, batch_size):
    config = BaseTrainerConfig(
        output_dir=tempfile.mkdtemp(),
        num_epochs=1,
        learning_rate=shared.LEARNING_RATE,
        per_device_train_batch_size=batch_size,
        optimizer_cls="Adam",
        no_cuda=True,
    )
    dataset = BaseDataset(x, torch.zeros(len(x)))
    trainer = BaseTrainer(vae, dataset, training_config=config)
    trainer.prepare_training()
    epochs = iter(range(1, 10**9))
    return lambda: float(trainer.train_step(next(epochs)))
