"""How much a latent is worth to text, where the truth is known exactly.

    python -m benchmarks.synthetic_text
    python -m benchmarks.synthetic_text --rows=VAE --rows="rate target"
    python -m benchmarks.synthetic_text --quick

Makes the synthetic language of He et al. (2019): z of two dimensions from a mixture of
four normals, and an LSTM whose logits z shifts write sentences of ten words of 1,000.
log p(x) is the integral over z on a grid, so that the entropy of the language is known.
Beside it stand a model of language, a plain VAE, a VAE that is pre-trained as an
autoencoder, gets a new decoder and free bits (Li et al., 2019), and one whose weight is
controlled until the KL has 6 nats: LSTMs of 50, 32 units of z. `--rows` takes some of
them, `--quick` tries it on a small language.
"""

import dataclasses
import time

import keras
import numpy as np
from absl import app
from absl import flags
from scipy import special

import keras_vae as kv

_CENTRES = 2.0 * np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
# Of the integral: it holds all but e-15 of the mixture.
_EDGE, _SPACING = 9.0, 0.1
ROWS = ("language model", "VAE", "pre-training", "rate target")

FLAGS = flags.FLAGS


def define_flags(values=flags.FLAGS):
    """Defines the flags of the program."""
    common = {"flag_values": values}
    flags.DEFINE_multi_enum("rows", ROWS, ROWS, "Models to train.", **common)
    flags.DEFINE_integer("epochs", 40, "Epochs of each model.", 1, **common)
    flags.DEFINE_integer("draws", 500, "Draws of z for -log p(x).", 1, **common)
    flags.DEFINE_integer("seed", 0, "Seed of the models.", 0, **common)
    flags.DEFINE_bool("quick", False, "A small language, and one epoch.", **common)


@dataclasses.dataclass(frozen=True)
class Language:
    """The language; its weights depend on nothing but the sizes.

    Args:
        words: Integer, size of the vocabulary.
        length: Integer, words of each sentence.
        units: Integer, units of the LSTM and size of the embeddings.
    """

    words: int = 1000
    length: int = 10
    units: int = 100

    def __post_init__(self):
        """Draws the weights: U(-1, 1), those of z to the logits U(-3, 3)."""
        generator = np.random.default_rng(0)

        def uniform(*shape, limit=1.0):
            return generator.uniform(-limit, limit, size=shape)

        # One more word stands before the first one.
        weights = {
            "embedding": uniform(self.words + 1, self.units),
            "kernel": uniform(2 * self.units, 4 * self.units),
            "bias": uniform(4 * self.units),
            "logits": uniform(self.units, self.words),
            "of_z": uniform(2, self.words, limit=3.0),
        }
        object.__setattr__(self, "weights", weights)

    def _step(self, words, state):
        """Returns the logits of the next word without z, and the state."""
        hidden, cell = state
        inputs = [self.weights["embedding"][words], hidden]
        gates = np.concatenate(inputs, axis=1) @ self.weights["kernel"]
        i, f, g, o = np.split(gates + self.weights["bias"], 4, axis=1)
        cell = special.expit(f) * cell + special.expit(i) * np.tanh(g)
        hidden = special.expit(o) * np.tanh(cell)
        return hidden @ self.weights["logits"], (hidden, cell)

    def _start(self, size):
        zeros = np.zeros((size, self.units))
        return np.full(size, self.words), (zeros, zeros)

    def sample(self, size, seed):
        """Draws sentences, an integer array (size, length)."""
        generator = np.random.default_rng(seed)
        z = _CENTRES[generator.integers(4, size=size)]
        shift = (z + generator.normal(size=z.shape)) @ self.weights["of_z"]
        found, (words, state) = [], self._start(size)
        for _ in range(self.length):
            logits, state = self._step(words, state)
            words = np.argmax(logits + shift + generator.gumbel(size=shift.shape), 1)
            found.append(words)
        return np.stack(found, axis=1)

    def log_prob(self, sentences):
        """Computes log p(x) by quadrature over z.

            log p(x) = log sum_g w_g p(z_g) prod_t p(x_t | x_1 ... x_{t-1}, z_g)

        Args:
            sentences: Integer array (n, length).

        Returns:
            (n,) array, nats.
        """
        axis = np.arange(-_EDGE, _EDGE + _SPACING / 2, _SPACING)
        z = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
        distance = np.square(z[:, None] - _CENTRES).sum(axis=-1)
        log_prior = special.logsumexp(-distance / 2, axis=1) - np.log(4 * 2 * np.pi)
        log_weights = log_prior + 2 * np.log(_SPACING)
        shift = z @ self.weights["of_z"]
        # Their exponentials make the sum over words a product of matrices.
        tops = shift.max(axis=1)
        exponentials = np.exp(shift - tops[:, None])
        total = np.tile(log_weights, (len(sentences), 1))
        words, state = self._start(len(sentences))
        for place in range(self.length):
            logits, state = self._step(words, state)
            words = sentences[:, place]
            top = logits.max(axis=1, keepdims=True)
            sums = np.exp(logits - top) @ exponentials.T
            chosen = np.take_along_axis(logits, words[:, None], axis=1)
            total += chosen + shift[:, words].T - np.log(sums) - top - tops
        return special.logsumexp(total, axis=1)


def as_text(sentences):
    """Returns sentences as strings."""
    return [" ".join(f"w{word}" for word in sentence) for sentence in sentences]


def fitted(model, train, validation, epochs, schedule=None):
    """Trains a model, and returns it with the weights of its best epoch."""
    model.compile(keras.optimizers.Adam(1e-3))
    options = {"patience": 5, "restore_best_weights": True}
    stopping = kv.EarlyStopping(**options)
    if model.objective.weight == 0:
        # An autoencoder is none the worse for a large KL.
        monitor = "val_reconstruction_loss"
        stopping = keras.callbacks.EarlyStopping(monitor, mode="min", **options)
    annealing = [] if schedule is None else [kv.KLAnnealing(schedule)]
    chain = [*annealing, stopping]
    held_out = {"validation_data": validation, "callbacks": chain}
    model.fit(train, epochs=epochs, verbose=0, **held_out)
    return model


def trained(name, language, train, validation, epochs, seed):
    """Returns the trained model of a row."""
    vocabulary = kv.datasets.Vocabulary([f"w{i}" for i in range(language.words)])
    settings = {"units": 50, "embedding_dim": 50, "latent_dim": 32, "seed": seed}
    data = train, validation, epochs

    def make(**kwargs):
        keras.utils.set_random_seed(seed)
        return kv.SentenceVAE(vocabulary, **settings, **kwargs)

    if name == "language model":
        return fitted(make(uses_latent=False), *data)
    if name == "VAE":
        return fitted(make(), *data)
    if name == "rate target":
        target = kv.objectives.RateTarget(6.0, kl_weight=0.1)
        return fitted(make(objective=target), *data)
    autoencoder = fitted(make(objective=kv.ELBO(kl_weight=0.0)), *data)
    free_bits = kv.objectives.FreeBits(nats=0.25, over="example")
    model = kv.models.with_new_decoder(autoencoder, free_bits)
    return fitted(model, *data, kv.schedules.linear("25%"))


def main(_):
    """Runs the program."""
    language, size = Language(), (16000, 2000, 2000)
    epochs, draws = FLAGS.epochs, FLAGS.draws
    if FLAGS.quick:
        language, size = Language(20, 4, 8), (200, 50, 50)
        epochs, draws = 1, 5
    # The autoencoder is trained before.
    number = len(FLAGS.rows) + ("pre-training" in FLAGS.rows)
    print(f"{number} trainings of at most {epochs} epochs of {size[0]} sentences.")
    parts = np.split(language.sample(sum(size), seed=1), np.cumsum(size)[:2])
    # The grid of more sentences at once would not fit into memory.
    pieces = np.array_split(parts[2], max(1, size[2] // 100))
    exact = -np.concatenate([language.log_prob(piece) for piece in pieces])
    train, validation, test = map(as_text, parts)
    error = exact.std() / np.sqrt(len(exact))
    print(f"{'':26}{'-log p':>8}{'-ELBO':>8}{'KL':>8}{'min':>6}")
    print(f"{'the language itself':26}{exact.mean():8.2f}  (error {error:.2f})")
    for name in FLAGS.rows:
        start = time.monotonic()
        model = trained(name, language, train, validation, epochs, FLAGS.seed)
        logs = model.evaluate(test, verbose=0, return_dict=True)
        nll = -model.log_likelihood(test, num_samples=draws).mean()
        minutes = (time.monotonic() - start) / 60
        cells = f"{nll:8.2f}{logs['negative_elbo']:8.2f}{logs['kl_loss']:8.2f}"
        print(f"{name:26}{cells}{minutes:6.1f}", flush=True)


if __name__ == "__main__":
    define_flags()
    app.run(main)
