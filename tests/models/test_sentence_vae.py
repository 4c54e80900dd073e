"""Sentence VAEs, on a language whose sentences can be listed."""

import itertools
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special
from scipy import stats

import keras_vae as kv
from keras_vae.datasets import vocabulary as ids_of
from keras_vae.models import sentence_networks
from keras_vae.models import sentence_writing

# Three words, of which one is unknown.
VOCABULARY = kv.datasets.Vocabulary(["a", "b"])
WORDS = ["<unk>", "a", "b"]
LONGEST = 4
SENTENCES = [
    " ".join(words)
    for number in range(LONGEST + 1)
    for words in itertools.product(WORDS, repeat=number)
]
Z = np.float32([[0.7, -1.2]])


def make(**kwargs):
    keras.utils.set_random_seed(4)
    settings = {"latent_dim": 2, "units": 5, "embedding_dim": 4, "max_length": 6}
    return kv.SentenceVAE(VOCABULARY, **{**settings, "seed": 0, **kwargs})


def shaken(model, scale=0.7):
    """Gives a model random weights, far from the uniform distribution."""
    for index, weight in enumerate(model.decoder.trainable_weights):
        noise = np.random.default_rng(index).normal(size=weight.shape)
        weight.assign(weight + scale * noise)
    return model


@pytest.fixture(scope="module", params=["lstm", "gru", "first state"])
def vae(request):
    if request.param == "first state":
        return shaken(make(latent_at_words=False))
    return shaken(make(cell=request.param))


@pytest.fixture(scope="module")
def lstm():
    return shaken(make())


def log_probs(model, ids, z=Z):
    """log p(x|z), (sentences, rows of z)."""
    z = tf.repeat(z[None], len(ids), axis=0)
    params = model._decode(z, model.readable(ids))
    mask = ids[..., 0] != 0
    return np.float64(model.likelihood.log_prob(params, ids, mask=mask))


def prefixes(length):
    """Ids of all sentences that have not ended after so many words."""
    ids = [*itertools.product(range(ids_of.UNKNOWN, 6), repeat=length)]
    ids = np.array([x for x in ids if not {ids_of.BEGIN, ids_of.END} & set(x)])
    return ids[..., None].astype("int32")


# === The exact oracle ===


def test_probabilities_of_all_sentences_add_up_to_one(vae):
    assert len(SENTENCES) == 1 + 3 + 9 + 27 + 81
    ended = np.exp(log_probs(vae, VOCABULARY.encode(SENTENCES))).sum()
    going_on = np.exp(log_probs(vae, prefixes(LONGEST + 1))).sum()
    assert going_on > 1e-3
    assert abs(ended + going_on - 1) < 1e-5


def language(size):
    """Sentences whose share of "a" is drawn for each, as z would say it."""
    generator = np.random.default_rng(0)
    share = special.expit(2.0 * generator.normal(size=(size, 1)))
    words = np.where(generator.random((size, LONGEST)) < share, 1, 2)
    words[generator.random(words.shape) < 0.1] = 0
    lengths = generator.integers(LONGEST + 1, size=size)
    rows = zip(words, lengths, strict=True)
    return [" ".join(WORDS[i] for i in row[:length]) for row, length in rows]


@pytest.fixture(scope="module")
def trained():
    """A model of the language, which hears of it by z alone."""
    model = make(units=8, word_dropout=1.0)
    # A falling rate, so that q(z|x) settles.
    rate = keras.optimizers.schedules.CosineDecay(0.02, 480)
    model.compile(keras.optimizers.Adam(rate), jit_compile=False)
    model.fit(language(2000), batch_size=50, epochs=12, verbose=0)
    return model


def exact(model, spacing=0.2, edge=6.0):
    """log p(x) of all sentences, by quadrature over the two dimensions of z."""
    axis = np.arange(-edge, edge + spacing / 2, spacing)
    grid = np.float32(list(itertools.product(axis, axis)))
    log_weights = stats.norm.logpdf(grid).sum(axis=1) + 2 * np.log(spacing)
    ids = VOCABULARY.encode(SENTENCES)
    logs = [log_probs(model, ids[i : i + 10], grid) for i in range(0, len(ids), 10)]
    return special.logsumexp(np.concatenate(logs) + log_weights, axis=1)


def test_the_bound_is_below_and_importance_sampling_at_the_evidence(trained):
    found = exact(trained)
    elbo = np.float64(trained.elbo(SENTENCES, num_samples=2000))
    # Its standard error is .02.
    assert np.all(elbo < found + 0.06)
    assert 0.002 < np.mean(found - elbo) < 0.05
    # z is in use.
    assert trained.evaluate(SENTENCES, verbose=0, return_dict=True)["kl_loss"] > 0.2
    estimate = trained.log_likelihood(SENTENCES, num_samples=5000)
    np.testing.assert_allclose(estimate, found, atol=0.01)
    words = kv.datasets.count_words(SENTENCES)
    perplexity = trained.perplexity(SENTENCES, num_samples=5000)
    assert abs(perplexity / np.exp(-found.sum() / words) - 1) < 1e-3


@pytest.mark.parametrize("pooling", ["last", "max"])
def test_padding_changes_no_number(pooling):
    one, other = (shaken(make(pooling=pooling)) for _ in range(2))
    ids = VOCABULARY.encode(SENTENCES[:40]).numpy()
    padded = np.pad(ids, [(0, 0), (0, ids.shape[1]), (0, 0)])
    for method in ("elbo", "log_likelihood"):
        numbers = [getattr(one, method)(x, num_samples=3) for x in (ids, padded)]
        np.testing.assert_allclose(*numbers, atol=1e-6)
    logs = []
    for model, x in ((one, ids), (other, padded)):
        model.compile(keras.optimizers.SGD(0.1))
        logs.append(model.train_on_batch(x, return_dict=True))
        logs[-1].update(model.test_on_batch(x, return_dict=True))
    np.testing.assert_allclose(*(list(part.values()) for part in logs), rtol=1e-6)
    for weight, same in zip(one.weights, other.weights, strict=True):
        np.testing.assert_allclose(weight, same, atol=1e-6)


def test_a_model_of_language_has_its_evidence_as_bound():
    model = shaken(make(uses_latent=False))
    direct = log_probs(model, VOCABULARY.encode(SENTENCES))[:, 0]
    np.testing.assert_allclose(model.elbo(SENTENCES), direct, atol=1e-5)
    estimate = model.log_likelihood(SENTENCES, num_samples=1)
    np.testing.assert_allclose(estimate, direct, atol=1e-5)
    model.compile(keras.optimizers.Adam(0.01))
    logs = model.fit(SENTENCES, epochs=2, verbose=0).history
    assert logs["kl_loss"] == [0.0, 0.0]
    assert logs["loss"][1] < logs["loss"][0]


# === Writing ===


def test_sentences_come_by_their_probabilities(vae):
    n = 20000
    written = vae.decode(tf.repeat(Z, n, axis=0), temperature=1.0, seed=3).numpy()
    short = SENTENCES[:13]
    probs = np.exp(log_probs(vae, VOCABULARY.encode(short)))[:, 0]
    counts = np.array([np.sum(written == x.encode()) for x in short])
    counts = np.append(counts, n - counts.sum())
    probs = np.append(probs, 1 - probs.sum())
    assert stats.chisquare(counts, n * probs / probs.sum()).pvalue > 1e-3


def first_words(model, n=4000, **kwargs):
    """Shares of the ids of the first words that are drawn, and softmax's logits."""
    z = tf.repeat(Z, n, axis=0)
    ids = model._write(z, seed=5, **kwargs)[:, 0]
    logits = model._decode(Z[:, None], model.readable(tf.zeros((1, 1, 1))))
    return np.bincount(ids, minlength=6) / n, np.float64(logits).ravel()


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_temperature_divides_the_logits(lstm, temperature):
    shares, logits = first_words(lstm, temperature=temperature)
    np.testing.assert_allclose(shares, special.softmax(logits / temperature), atol=0.03)


def test_padding_and_begin_are_never_written(lstm):
    words = sentence_writing.write(
        lstm, tf.zeros((400, 2)), kv.random.key(0), tf.constant(1e12), None, None
    ).numpy()
    ended = np.cumsum(words == ids_of.END, axis=1) - (words == ids_of.END) > 0
    assert set(words[~ended]) == {ids_of.UNKNOWN, ids_of.END, 4, 5}
    assert set(words[ended]) == {ids_of.PADDING}


def test_top_k_and_top_p_leave_the_most_probable_words(lstm):
    shares, logits = first_words(lstm, temperature=1.0, top_k=2)
    probs, order = special.softmax(logits), np.argsort(-logits)
    expected = np.where(np.isin(np.arange(6), order[:2]), probs, 0)
    np.testing.assert_allclose(shares, expected / expected.sum(), atol=0.03)
    just = probs[order[0]] + probs[order[1]]
    for top_p, kept in ((just - 1e-3, 2), (just + 1e-3, 3), (1e-3, 1)):
        shares, _ = first_words(lstm, temperature=1.0, top_p=top_p)
        assert set(np.flatnonzero(shares)) == set(order[:kept])
    greedy = lstm.decode(Z)
    assert lstm.decode(Z, temperature=1.0, top_k=1) == greedy


def test_greedy_takes_the_most_probable_word_each_time(vae):
    ids = np.zeros((1, 6, 1), "int32")
    for place in range(6):
        params = vae._decode(Z[:, None], vae.readable(ids))
        ids[0, place, 0] = np.argmax(params[0, 0, place])
        if ids[0, place, 0] == ids_of.END:
            break
    assert vae.decode(Z) == VOCABULARY.decode(ids)


def test_a_step_is_a_place_of_the_whole(vae):
    ids = VOCABULARY.encode(["a b b a"])
    whole = vae._decode(Z[:, None], vae.readable(ids))[0, 0]
    decoder = vae.decoder
    state, word = decoder.initial_state(tf.constant(Z), Z), tf.constant([ids_of.BEGIN])
    for place in range(5):
        logits, state = decoder.step(tf.constant(Z), word, state)
        np.testing.assert_allclose(logits[0], whole[place], rtol=1e-4, atol=1e-5)
        word = ids[:, place, 0]


def test_the_loop_is_traced_once_for_all_sizes(lstm, monkeypatch):
    traces, write = [], sentence_writing.write

    def counted(*args):
        traces.append(args)
        return write(*args)

    monkeypatch.setattr("keras_vae.models.sentence_vae.write", counted)
    for n in (3, 5, 100):
        assert lstm.generate(n, seed=1).shape == (n,)
    assert len(traces) <= 2
    # Once traced, no word calls Python.
    step, calls = sentence_networks.RecurrentDecoder.step, []

    def called(*args):
        calls.append(args)
        return step(*args)

    monkeypatch.setattr(sentence_networks.RecurrentDecoder, "step", called)
    assert lstm.generate(100, seed=2).shape == (100,)
    assert not calls
    np.testing.assert_array_equal(lstm.generate(5, seed=1), lstm.generate(5, seed=1))


def test_a_line_ends_at_the_reconstructions(lstm):
    line = lstm.interpolate(["a b"], ["b b b a"], steps=3)
    assert line.shape == (1, 3)
    assert line[0, 0] == lstm.reconstruct(["a b"])[0]
    assert line[0, 2] == lstm.reconstruct(["b b b a"])[0]


# === Networks ===


def test_hidden_words_are_never_read():
    model = shaken(make(word_dropout=1.0))
    z = tf.repeat(Z, 2, axis=0)[:, None]
    params = model._decode(z, model.readable(VOCABULARY.encode(["a a b", "b a a"])))
    np.testing.assert_allclose(params[0], params[1], rtol=1e-5)


def test_maxima_are_those_of_the_words():
    states = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    mask = np.array([[True, True, False], [True, False, False]])
    found = sentence_networks.MaxOverWords()(states, mask=mask)
    np.testing.assert_array_equal(found, [states[0, :2].max(axis=0), states[1, 0]])


def test_dropout_keeps_the_mean():
    layer = sentence_networks.SeededDropout(0.25, seed=1)
    x = np.ones((100, 100), "float32")
    dropped = layer(x, training=True).numpy()
    assert abs(dropped.mean() - 1) < 0.02
    np.testing.assert_allclose(np.unique(dropped), [0, 4 / 3], rtol=1e-6)
    assert not np.array_equal(dropped, layer(x, training=True))
    np.testing.assert_array_equal(layer(x), x)


def test_tied_weights_are_one_matrix():
    decoder = shaken(make(tie_weights=True)).decoder
    shapes = [tuple(w.shape) for w in decoder.trainable_weights]
    assert shapes.count((6, 4)) == 1
    h = np.random.default_rng(0).normal(size=(1, 2, 5)).astype("float32")
    kernel, bias = decoder.last.get_weights()
    expected = (h @ kernel + bias) @ np.transpose(decoder.embedding.embeddings)
    expected += decoder.last_bias.numpy()
    words = np.delete(np.arange(6), [ids_of.PADDING, ids_of.BEGIN])
    found = decoder._logits(tf.constant(h), training=False).numpy()
    np.testing.assert_allclose(found[..., words], expected[..., words], rtol=1e-5)


# === Training and saving ===


def test_a_later_start_goes_on_alike():
    def trained(*starts):
        model = make(word_dropout=0.3, output_dropout=0.2)
        model.compile(keras.optimizers.Adam(0.01))
        for start in starts:
            model.fit(SENTENCES, epochs=start + 1, initial_epoch=start, verbose=0)
        return model.get_weights()

    whole = make(word_dropout=0.3, output_dropout=0.2)
    whole.compile(keras.optimizers.Adam(0.01))
    whole.fit(SENTENCES, epochs=2, verbose=0)
    for one, other in zip(whole.get_weights(), trained(0, 1), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_written_can_be_put_in_again(lstm):
    written = lstm.generate(6, seed=1)
    texts = [x.decode() for x in written.numpy()]
    lstm.compile(keras.optimizers.Adam(0.01))
    options = {"verbose": 0, "return_dict": True}
    expected = lstm.evaluate(texts, **options)
    for form in (
        written,
        written.numpy(),
        [x.encode() for x in texts],
        np.array(texts),
    ):
        assert lstm.evaluate(form, **options) == expected
        kwargs = {"num_samples": 3, "jit_compile": False}
        assert lstm.perplexity(form, **kwargs) == lstm.perplexity(texts, **kwargs)
        np.testing.assert_array_equal(lstm.infer(form)[0], lstm.infer(texts)[0])
    ids = lstm.vocabulary.encode(texts).numpy()
    np.testing.assert_array_equal(
        lstm.predict(texts, verbose=0), lstm.predict(ids, verbose=0)
    )
    assert lstm.test_on_batch(texts) == lstm.test_on_batch(ids)
    # A no-break space is white space of Python, not of TensorFlow.
    one, other = ("a\u00a0b", "b"), ("a b", "b")
    assert kv.datasets.count_words(one) == kv.datasets.count_words(other) == 5
    np.testing.assert_array_equal(
        lstm.vocabulary.encode(list(one)), lstm.vocabulary.encode(list(other))
    )


def test_the_order_of_sentences_is_that_of_shuffle():
    def trained(shuffle):
        model = make()
        model.compile(keras.optimizers.Adam(0.01))
        data = model.vocabulary.batches(SENTENCES, seed=0, shuffle=False)
        x = SENTENCES if shuffle is None else data
        options = {"shuffle": False, "verbose": 0, "batch_size": None}
        model.fit(x, epochs=2, **options)
        return model.get_weights()

    for one, other in zip(trained(None), trained(False), strict=True):
        np.testing.assert_array_equal(one, other)


def test_unknown_words_alone_can_be_held_out():
    model = make()
    model.compile(keras.optimizers.Adam(0.01))
    logs = model.fit(
        SENTENCES, validation_data=(["zebra", ""],), validation_batch_size=1, verbose=0
    )
    found = model.evaluate(["zebra", ""], verbose=0, return_dict=True)
    assert logs.history["val_loss"][0] == pytest.approx(found["loss"], rel=0.1)


SERVE = """
import sys
import tensorflow as tf

loaded = tf.saved_model.load(sys.argv[1])
assert not {"keras_vae", "tensorflow_probability"} & set(sys.modules)
print(loaded.serve(tf.constant(["a b", "b zebra"])).numpy().tolist())
print(loaded.generate(n=3, seed=2, temperature=0.7).numpy().tolist())
"""


@pytest.mark.slow
def test_a_saved_model_takes_strings_and_needs_tensorflow_alone(lstm, tmp_path):
    lstm.save(tmp_path / "model.keras")
    # As a program does that only exports: nothing was called before.
    fresh = keras.saving.load_model(tmp_path / "model.keras")
    fresh.export(tmp_path / "saved_model", verbose=False)
    command = [sys.executable, "-c", SERVE, str(tmp_path / "saved_model")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    served, generated = map(eval, result.stdout.strip().splitlines())
    assert served == lstm.reconstruct(["a b", "b <unk>"]).numpy().tolist()
    assert generated == lstm.generate(3, seed=2, temperature=0.7).numpy().tolist()


def test_an_asked_compilation_is_followed():
    model, x = make(), kv.datasets.Vocabulary(["a", "b"]).encode(["a", "b a"])
    model.compile("sgd", jit_compile=True)
    assert model.jit_compile
    found = model.train_on_batch(x)
    model = make()
    model.compile("sgd", jit_compile=False)
    np.testing.assert_allclose(found, model.train_on_batch(x), rtol=1e-4)


def test_weights_are_those_of_the_words(tmp_path):
    path = tmp_path / "some.weights.h5"
    make().save_weights(path)
    make().load_weights(path)
    other = kv.SentenceVAE(
        kv.datasets.Vocabulary(["b", "a"]), latent_dim=2, units=5, embedding_dim=4
    )
    with pytest.raises(ValueError, match="`words` must be those .* saved"):
        other.load_weights(path)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda vae: vae.reconstruct("a b"), "`x` must be a list of sentences"),
        (lambda vae: vae.fit(["zebra", "yak"]), "unknown words alone"),
        (lambda vae: vae.decode(np.zeros((1, 3))), "`z` must have shape"),
        (lambda vae: vae.generate(1, temperature=-1.0), "`temperature`"),
        (lambda vae: vae.generate(1, top_k=0), "`top_k`"),
        (lambda vae: vae.generate(1, top_p=1.5), "`top_p` must be in"),
        (lambda vae: make(cell="rnn"), "`cell` must be one of"),
        (lambda vae: make(pooling="mean"), "`pooling` must be one of"),
        (lambda vae: make(output_dropout=1.0), r"`output_dropout` must be in \[0, 1\)"),
        (lambda vae: make(word_dropout=1.5), r"`word_dropout` must be in \[0, 1\]"),
        (lambda vae: make(word_dropout=None), "`word_dropout` must be a finite"),
        (lambda vae: make(likelihood="normal"), "`likelihood` must be left out"),
        (lambda vae: vae.fit(["<bos> a"]), "must not hold .*<bos>"),
        (lambda vae: vae.log_likelihood(["a <eos> b"]), "must not hold .*<eos>"),
        (lambda vae: vae.elbo([b"\xff a"]), "`sentences` must be in UTF-8.*xff"),
        (lambda vae: vae.infer([None, "a"]), "must be strings. Received: None"),
        (lambda vae: vae.fit(["a"], batch_size=0), "`batch_size` must be"),
        (
            lambda vae: vae.fit(["a"], validation_data=["a"], validation_batch_size=0),
            "`batch_size` must be",
        ),
        (
            lambda vae: vae.fit(tf.data.Dataset.from_tensors(["a"])),
            "`x` must be a list of sentences.*vocabulary.batches",
        ),
        (lambda vae: kv.SentenceVAE(WORDS), "`vocabulary` must be"),
        (lambda vae: vae.elbo(np.full((1, 2, 1), 9)), "class ids"),
        (lambda vae: vae.fit([]), "`x` must hold at least one sentence"),
        (lambda vae: vae.reconstruct([]), "`x` must hold at least one sentence"),
        (lambda vae: vae.infer(["a", 3]), "`sentences` must be strings. Received: 3"),
        (lambda vae: vae.fit(["a"], sample_weight=[1.0]), "`sample_weight` must be N"),
        (lambda vae: vae.fit(["a"], validation_split=0.5), "`validation_split` must"),
        (
            lambda vae: vae.fit(["a"], validation_data=(["a"], None, [1.0])),
            "`sample_weight` must be None with strings",
        ),
        (lambda vae: vae.evaluate(["a"], ["b"]), "`y` must be None with strings"),
        (lambda vae: vae.decode(np.full((1, 2), np.nan)), "`z`"),
        (
            lambda vae: make(
                uses_latent=False, posterior=kv.distributions.CommittedNormal(0.15)
            ),
            "`posterior` must be left out with uses_latent=False",
        ),
        (
            lambda vae: make(uses_latent=False, prior="learned_normal"),
            "`prior` must be left out with uses_latent=False",
        ),
    ],
)
def test_errors_say_what_to_do(lstm, use, message):
    lstm.compile("adam")
    with pytest.raises(ValueError, match=message):
        use(lstm)
