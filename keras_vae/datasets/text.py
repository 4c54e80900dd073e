"""Sentences in text files."""

import codecs
import pathlib

import numpy as np

from keras_vae.arguments import check_count
from keras_vae.datasets import splits

# What stands for padding, unknown words, the begin and the end of a sentence.
PADDING, UNKNOWN, BEGIN, END = "", "<unk>", "<bos>", "<eos>"


def sentences(path, max_length=None):
    r"""Returns the sentences of a text file, one a line.

    Words are what white space separates; they stay as they are. Lines without a word
    are left out.

    Args:
        path: Path of a file in UTF-8.
        max_length: Integer, the most words of a sentence, longer ones are left out; or
            None for all. `load` says how many.

    Returns:
        An array (n,) of strings, words separated by single spaces.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is not in UTF-8, holds no sentence that is short enough, or a
            word that stands for the begin or the end of a sentence.

    Example:
    >>> from pathlib import Path
    >>> _ = Path("two.txt").write_text("a  cat sat\n\nthe dog did not\n")
    >>> kv.datasets.sentences("two.txt").tolist()
    ['a cat sat', 'the dog did not']
    """
    return read(path, max_length)[0]


def load(path, max_length=None, **kwargs):
    """Returns the `Dataset` of a text file, arrays (n,) of strings."""
    x, description = read(path, max_length)
    return splits.hold_out(x, description=description, **kwargs)


def plain(sentences):
    """Returns sentences as a list of strings, words separated by single spaces.

    Args:
        sentences: Strings or bytes in UTF-8: a list, an array, or a tensor that has
            values.

    Raises:
        ValueError: If it holds anything else, or a word that stands for the begin or
            the end of a sentence.

    Example:
    >>> from keras_vae.datasets import text
    >>> text.plain([b"a cat", " the\u00a0dog "])
    ['a cat', 'the dog']
    """
    if isinstance(sentences, str | bytes):
        raise ValueError(
            f"`sentences` must be a list of strings. Received: {sentences!r}"
        )
    values = sentences.numpy() if hasattr(sentences, "numpy") else sentences
    texts = [_decoded(x) if isinstance(x, bytes) else x for x in values]
    if other := [x for x in texts if not isinstance(x, str)]:
        raise ValueError(
            f"`sentences` must be strings. Received: {other[0]!r} among them"
        )
    split = [x.split() for x in texts]
    for words in split:
        if found := _reserved(words):
            raise ValueError(
                "`sentences` must not hold words that stand for the begin and the end "
                f"of a sentence. Received: {found} in {' '.join(words)!r}"
            )
    return [" ".join(words) for words in split]


def _decoded(sentence):
    try:
        return sentence.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"`sentences` must be in UTF-8. Received: {sentence!r}"
        ) from error


def _reserved(words):
    return {BEGIN, END} & set(words)


def count_words(sentences):
    """Returns the number of words of sentences, their ends included.

    Args:
        sentences: See `plain`.

    Example:
    >>> count_words(["a cat sat", "yes"])
    6
    """
    return sum(map(length, plain(sentences)))


def length(sentence):
    """Returns the number of words of one sentence, its end included."""
    return len(sentence.split()) + 1


def read(path, max_length):
    """Returns `sentences`, and a line that says what was read."""
    if max_length is not None:
        check_count("max_length", max_length)
    lines = _lines(pathlib.Path(path))
    filled = [line for line in lines if line]
    kept = [x for x in filled if max_length is None or length(x) - 1 <= max_length]
    counts = {
        f"{len(lines) - len(filled)} lines without a word": len(lines) - len(filled),
        f"{len(filled) - len(kept)} of more than {max_length} words": len(filled)
        - len(kept),
    }
    left_out = [text for text, number in counts.items() if number]
    if not kept:
        raise ValueError(
            "`path` must hold at least one sentence, one a line. Received: "
            f"{path}, {len(lines)} lines" + "".join(f", {text}" for text in left_out)
        )
    description = f"{path}: {len(kept)} sentences, {count_words(kept)} words with ends"
    if left_out:
        description += f"; left out: {', '.join(left_out)}"
    return np.array(kept, object), f"{description}."


def _lines(path):
    if not path.is_file():
        raise FileNotFoundError(
            f"`path` must be an existing file. Received: path={str(path)!r}"
        )
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        is_utf16 = error.object.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        raise ValueError(
            f"`path` must be a text file in UTF-8. Received: {path}, whose line {line} "
            f"holds the byte {error.object[error.start]:#x}. Convert it, for instance "
            f"by `iconv -f {'utf-16' if is_utf16 else 'latin1'} -t utf-8`."
        ) from error
    text = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")
    lines = [line.split() for line in text.split("\n")]
    for number, words in enumerate(lines, 1):
        if reserved := _reserved(words):
            raise ValueError(
                "`path` must not hold words that stand for the begin and the end of a "
                f"sentence. Received: {path}, whose line {number} holds {reserved}"
            )
    return [" ".join(words) for words in lines]
