"""Training loops in PyTorch, eager and compiled, with the fused Adam."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.contenders import shared

torch.manual_seed(0)


def mlp(data, batch_size=100, compiled=False):
    x = torch.from_numpy(shared.load(data))
    return _epochs(mlp_networks(x.shape[1]), x, batch_size, _image_loss, compiled)


def conv(data, batch_size=64, compiled=False):
    x = torch.from_numpy(shared.load(data))[:, None]
    return _epochs(conv_networks(), x, batch_size, _image_loss, compiled)


def lstm(data, batch_size=32):
    x = torch.from_numpy(shared.load(data).astype("int64"))
    return _epochs(SentenceVAE(), x, batch_size, lambda model, x: model(x), False)


def text(data, batch_size=32):
    x = torch.from_numpy(shared.load(data).astype("int64"))
    # After its last word a sentence has an end, of the last id.
    x = functional.pad(x, (0, 1))
    x[torch.arange(len(x)), (x > 0).sum(dim=1)] = shared.VOCABULARY
    model = TextVAE()
    return _epochs(model, x, batch_size, lambda model, x: model(x), False, _of_length)


def mlp_networks(pixels):
    """Returns an encoder to means and log variances, and a decoder to logits."""
    sizes = (pixels, shared.HIDDEN, shared.HIDDEN)
    encoder = _dense(*sizes, 2 * shared.LATENTS)
    decoder = _dense(shared.LATENTS, *sizes[::-1])
    layers = [m for m in (*encoder, *decoder) if isinstance(m, nn.Linear)]
    weights = shared.mlp_weights(pixels)
    for layer, (kernel, bias) in zip(layers, weights, strict=True):
        layer.weight.data = torch.from_numpy(np.ascontiguousarray(kernel.T))
        layer.bias.data = torch.from_numpy(bias)
    return nn.ModuleList([encoder, decoder])


def conv_networks():
    """The same for images of 64 x 64."""
    channels, hidden = (1, *shared.FILTERS), shared.CONV_HIDDEN
    encoder, decoder = [], []
    for before, after in zip(channels[:-1], channels[1:], strict=True):
        encoder += [nn.Conv2d(before, after, 4, 2, 1), nn.ReLU()]
    for after, before in zip(channels[-2::-1], channels[:0:-1], strict=True):
        decoder += [nn.ConvTranspose2d(before, after, 4, 2, 1), nn.ReLU()]
    flat = 16 * channels[-1]
    encoder += [nn.Flatten(), *_dense(flat, *hidden), nn.ReLU()]
    encoder += [nn.Linear(hidden[-1], 2 * shared.CONV_LATENTS)]
    dense = [*_dense(shared.CONV_LATENTS, *hidden[::-1], flat), nn.ReLU()]
    dense += [nn.Unflatten(1, (channels[-1], 4, 4))]
    networks = nn.ModuleList(
        [nn.Sequential(*encoder), nn.Sequential(*dense, *decoder[:-1])]
    )
    _initialize(networks)
    for network in networks:
        _initialize_rectified(network)
    return networks


class SentenceVAE(nn.Module):
    """LSTM encoder, and LSTM decoder that sees the words before the next one."""

    def __init__(self):
        super().__init__()
        inputs = shared.EMBEDDING + shared.TEXT_LATENTS
        self.embedding = nn.Embedding(shared.VOCABULARY, shared.EMBEDDING)
        self.encoder = nn.LSTM(shared.EMBEDDING, shared.UNITS, batch_first=True)
        self.head = nn.Linear(shared.UNITS, 2 * shared.TEXT_LATENTS)
        self.decoder = nn.LSTM(inputs, shared.UNITS, batch_first=True)
        self.logits = nn.Linear(shared.UNITS, shared.VOCABULARY)
        _initialize(self)
        nn.init.uniform_(self.embedding.weight, -0.05, 0.05)

    def forward(self, x):
        """Returns the loss of a batch."""
        _, (state, _) = self.encoder(self.embedding(x))
        mean, log_variance = self.head(state[0]).chunk(2, dim=1)
        z = _sample(mean, log_variance)[:, None].expand(-1, x.shape[1], -1)
        before = functional.pad(x[:, :-1], (1, 0))
        words = torch.cat([self.embedding(before), z], dim=2)
        logits = self.logits(self.decoder(words)[0])
        cross_entropy = functional.cross_entropy(
            logits.flatten(0, 1), x.flatten(), reduction="sum"
        )
        return cross_entropy / len(x) + _kl(mean, log_variance)


class TextVAE(SentenceVAE):
    """`keras_vae.SentenceVAE`: z sets the decoder's first state too, and masks."""

    def __init__(self):
        super().__init__()
        words = shared.VOCABULARY + 1
        self.embedding = nn.Embedding(words, shared.EMBEDDING)
        self.read = nn.Embedding(words, shared.EMBEDDING)
        self.start = nn.Linear(shared.TEXT_LATENTS, shared.UNITS)
        self.logits = nn.Linear(shared.UNITS, words)
        _initialize(self)
        for embedding in (self.embedding, self.read):
            nn.init.uniform_(embedding.weight, -0.05, 0.05)

    def forward(self, x):
        """Returns the loss of a batch, in which 0 is padding."""
        last = (x > 0).sum(dim=1) - 1
        states, _ = self.encoder(self.embedding(x))
        state = states[torch.arange(len(x)), last]
        mean, log_variance = self.head(state).chunk(2, dim=1)
        z = _sample(mean, log_variance)
        before = self.read(functional.pad(x[:, :-1], (1, 0)))
        words = torch.cat([before, z[:, None].expand(-1, x.shape[1], -1)], dim=2)
        cell = self.start(z)[None]
        hidden, _ = self.decoder(words, (torch.tanh(cell), cell))
        logits = self.logits(functional.dropout(hidden, shared.TEXT_DROPOUT))
        cross_entropy = functional.cross_entropy(
            logits.flatten(0, 1), x.flatten(), ignore_index=0, reduction="sum"
        )
        return cross_entropy / len(x) + _kl(mean, log_variance)


def _dense(*sizes):
    layers = []
    for before, after in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _initialize(module):
    """Starts as Keras does: kernels at Glorot's scale, biases at zero."""
    for name, value in module.named_parameters():
        if value.ndim > 1:
            nn.init.xavier_uniform_(value)
        elif "bias" in name:
            nn.init.zeros_(value)


def _initialize_rectified(network):
    """Starts the layers before a ReLU at He's scale."""
    for layer, following in zip(network, network[1:], strict=False):
        if isinstance(following, nn.ReLU):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")


def _sample(mean, log_variance):
    return mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)


def _kl(mean, log_variance):
    per_unit = mean.square() + log_variance.exp() - 1 - log_variance
    return 0.5 * per_unit.sum(dim=1).mean()


def _image_loss(networks, x):
    encoder, decoder = networks
    mean, log_variance = encoder(x).chunk(2, dim=1)
    logits = decoder(_sample(mean, log_variance))
    cross_entropy = functional.binary_cross_entropy_with_logits(
        logits, x, reduction="sum"
    )
    return cross_entropy / len(x) + _kl(mean, log_variance)


def _at_random(x, batch_size):
    """Yields batches."""
    for rows in torch.randperm(len(x)).split(batch_size):
        yield x[rows]


def _of_length(x, batch_size):
    """Yields batches of sentences of like length."""
    lengths = (x > 0).sum(dim=1)
    widths = -(-lengths // shared.TEXT_WIDTH) * shared.TEXT_WIDTH
    parts = []
    for width in widths.unique():
        rows = torch.nonzero(widths == width)[:, 0]
        order = rows[torch.randperm(len(rows))].split(batch_size)
        parts += [x[some, :width] for some in order]
    for place in torch.randperm(len(parts)):
        yield parts[place]


def _epochs(model, x, batch_size, loss_of, compiled, batches=_at_random):
    optimizer = torch.optim.Adam(model.parameters(), shared.LEARNING_RATE, fused=True)
    batch_loss = torch.compile(loss_of) if compiled else loss_of

    def epoch():
        total = torch.zeros(())
        for part in batches(x, batch_size):
            optimizer.zero_grad(set_to_none=True)
            loss = batch_loss(model, part)
            loss.backward()
            optimizer.step()
            total += len(part) * loss.detach()
        return float(total) / len(x)

    return epoch
