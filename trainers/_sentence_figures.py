"""What is measured of a model of sentences, and how it is told."""

import numpy as np

import keras_vae as kv
from trainers import _program

# Sentences among which the mutual information tells one from the others.
_COMPARED = 1000


def measure(settings, model, text, sentences):
    """Returns the figures of the table, in nats for a sentence.

    Args:
        settings: `_sentence_settings.Settings`.
        model: Compiled `keras_vae.SentenceVAE`.
        text: `sentence.Text`, whose training sentences are counted for baselines.
        sentences: Array of strings, on which all is measured.
    """
    draws, samples = settings.run.eval_samples, settings.model.importance_samples
    if not model.uses_latent:
        # Nothing depends on z, and one draw is exact.
        draws = samples = 1
    repeated = list(sentences) * draws
    size = settings.fit.batch_size
    logs = model.evaluate(repeated, batch_size=size, verbose=0, return_dict=True)
    words = kv.datasets.count_words(sentences)
    log_likelihood = model.log_likelihood(list(sentences), num_samples=samples)
    nll = -float(np.mean(log_likelihood))
    return {
        "reconstruction": float(logs["reconstruction_loss"]),
        "rate": float(logs["kl_loss"]),
        "negative_elbo": float(logs["negative_elbo"]),
        "negative_log_likelihood": nll,
        "perplexity": float(np.exp(nll * len(sentences) / words)),
        "mutual_information": kv.evaluation.mutual_information(
            model, sentences, _COMPARED
        ),
        "mutual_information_limit": float(np.log(min(_COMPARED, len(sentences)))),
        "active_units": kv.metrics.active_units(
            _program.encode(model, sentences)
        ).number,
        "test_sentences": len(sentences),
        "test_words": words,
        "importance_samples": samples,
        "baselines": kv.sentence_baselines(text.train, sentences, text.vocabulary),
    }


def table(metrics):
    """Returns the figures as text."""
    names = {
        "reconstruction": "reconstruction",
        "rate": "rate (KL)",
        "negative_elbo": "-ELBO",
        "negative_log_likelihood": "-log p",
        "perplexity": "perplexity of a word",
        "mutual_information": "mutual information",
    }
    head = (
        f"Test split, {metrics['test_sentences']} sentences, {metrics['test_words']} "
        "words with ends, nats for a sentence"
    )
    cells = [f"  {text}".ljust(26) + f"{metrics[n]:10.2f}" for n, text in names.items()]
    units = f"  active units {metrics['active_units']:20d}"
    return "\n".join([*behind(metrics), head, *cells, units, f"  {counted(metrics)}"])


def counted(metrics):
    """Returns what counted words reach, in one line."""
    nats = metrics["baselines"]
    return (
        f"-log p of counted words: pairs {nats['bigram']:.2f}, single "
        f"{nats['independent']:.2f}"
    )


def behind(metrics):
    """Returns the lines that come first where counted words do better than a model."""
    lost = metrics["negative_log_likelihood"] - metrics["baselines"]["bigram"]
    if lost < 0:
        return []
    return [
        f"Counted pairs of words are better by {lost:.2f} nats for a sentence: train "
        "longer, or give more sentences",
        "",
    ]
