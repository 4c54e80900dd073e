"""Text files, vocabularies and batches of sentences."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vae import datasets

LINES = ["a b", "b c d e", "a", "c c c", "b a b"]
VOCABULARY = datasets.Vocabulary(["a", "b"])


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "some.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_a_line_is_a_sentence(write):
    path = write("\ufeffa  b\t c\r\n\n \nein schönes\u00a0Wort\n")
    assert datasets.sentences(path).tolist() == ["a b c", "ein schönes Wort"]
    assert datasets.count_words(datasets.sentences(path)) == 8


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_on_any_system(end, write):
    path = write(end.join(["a b", "c d", "", "e"]) + end)
    assert datasets.sentences(path).tolist() == ["a b", "c d", "e"]


def test_what_is_left_out_is_said(write):
    path = write("\n".join([*LINES, "", "too long a line"]))
    data = datasets.load(path, max_length=3, test_fraction=0.5)
    assert "4 sentences, 13 words with ends" in data.description
    assert "1 lines without a word, 2 of more than 3 words" in data.description
    assert sorted([*data.train, *data.test]) == sorted(["a b", "a", "c c c", "b a b"])


@pytest.mark.parametrize(
    ("content", "max_length", "message"),
    [
        ("", None, "at least one sentence.*1 lines, 1 lines without a word"),
        ("\n \n", None, "at least one sentence.*2 lines without a word"),
        ("a b c\n", 2, "at least one sentence.*1 of more than 2 words"),
        ("a\nb\né".encode("latin1"), None, "UTF-8.*line 3 holds the byte 0xe9"),
        ("a\nb".encode("utf-16"), None, "UTF-8.*iconv -f utf-16 -t"),
        ("a\nb <eos>", None, "line 2 holds {'<eos>'}"),
        ("a", 0, "`max_length`"),
    ],
)
def test_files_that_are_no_text(content, max_length, message, write):
    with pytest.raises(ValueError, match=message):
        datasets.sentences(write(content), max_length)


def test_a_file_must_exist(tmp_path):
    with pytest.raises(FileNotFoundError, match="`path` must be an existing file"):
        datasets.sentences(tmp_path / "none.txt")


def test_frequent_words_come_first():
    vocabulary = datasets.Vocabulary.of([*LINES, "<unk> z"])
    assert vocabulary.words == ["b", "c", "a", "d", "e", "z"]
    assert datasets.Vocabulary.of(LINES, max_words=2).words == ["b", "c"]
    assert datasets.Vocabulary.of(LINES, min_count=3).words == ["b", "c", "a"]
    assert vocabulary.size == 10


def test_sentences_come_back():
    vocabulary = datasets.Vocabulary.of(LINES)
    ids = vocabulary.encode(LINES)
    assert ids.shape == (5, 5, 1)
    back = vocabulary.decode(ids).numpy()
    assert [x.decode() for x in back] == LINES
    # An end that is missing, and words after it.
    ids = tf.constant([[4, 5, 6], [4, 3, 5]])
    assert vocabulary.decode(ids).numpy().tolist() == [b"b c a", b"b"]


@pytest.mark.parametrize(
    "use", [datasets.count_words, datasets.Vocabulary.of, VOCABULARY.encode]
)
def test_one_string_is_no_list_of_sentences(use):
    with pytest.raises(ValueError, match="`sentences` must be a list.*'a b'"):
        use("a b")


def test_no_word_of_a_sentence_is_its_begin_or_end():
    with pytest.raises(ValueError, match="must not hold .*<eos>"):
        VOCABULARY.encode(["a <eos> b"])
    # A graph cannot say so: there the word is an unknown one.
    found = tf.function(VOCABULARY.encode)(tf.constant(["a <eos> <bos>"]))
    np.testing.assert_array_equal(found, VOCABULARY.encode(["a <unk> <unk>"]))


@pytest.mark.parametrize("given", [{"sentences": ["<unk>", ""]}, {"min_count": 9}])
def test_a_vocabulary_needs_words(given):
    with pytest.raises(ValueError, match="`sentences` must hold .*min_count="):
        datasets.Vocabulary.of(**{"sentences": LINES, **given})


def test_a_vocabulary_is_saved_with_a_model(tmp_path):
    vocabulary = datasets.Vocabulary.of(LINES)
    config = keras.saving.serialize_keras_object(vocabulary)
    copy = keras.saving.deserialize_keras_object(config)
    np.testing.assert_array_equal(copy.encode(LINES), vocabulary.encode(LINES))


def test_a_vocabulary_that_was_never_used_can_be_tracked_by_a_saved_model():
    archive = keras.export.ExportArchive()
    archive.track(datasets.Vocabulary.of(LINES)._lookup)


@pytest.mark.parametrize("words", [[], ["a", "a"], ["a b"], ["<eos>", "a"], [3]])
def test_words_must_be_words(words):
    with pytest.raises(ValueError, match="`words` must be different strings"):
        datasets.Vocabulary(words)


@pytest.fixture
def many():
    generator = np.random.default_rng(0)
    lengths = generator.integers(1, 24, size=203)
    return [" ".join(generator.choice(list("abcde"), n)) for n in lengths]


def contents(batches):
    return [batch.numpy()[..., 0] for (batch,) in batches]


def test_batches_hold_each_sentence_once_and_like_lengths_together(many):
    vocabulary = datasets.Vocabulary.of(many)
    batches = vocabulary.batches(many, batch_size=16, width=6)
    found = contents(batches)
    assert len(found) == int(batches.cardinality())
    decoded = [x.decode() for part in found for x in vocabulary.decode(part).numpy()]
    assert sorted(decoded) == sorted(many)
    words = sum(np.count_nonzero(part) for part in found)
    assert words == datasets.count_words(many)
    for part in found:
        lengths = np.count_nonzero(part, axis=1)
        assert part.shape[1] % 6 == 0
        assert lengths.min() > part.shape[1] - 6


def test_the_order_of_an_epoch_is_that_of_a_resumed_run(many):
    vocabulary = datasets.Vocabulary.of(many)
    batches = vocabulary.batches(many, batch_size=16, seed=3)
    first, second = contents(batches), contents(batches)
    resumed = vocabulary.batches(many, batch_size=16, seed=3, initial_epoch=1)
    for one, other in zip(second, contents(resumed), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not all(map(np.array_equal, first, second))
    kept = vocabulary.batches(many, batch_size=16, shuffle=False)
    assert all(map(np.array_equal, contents(kept), contents(kept)))


def test_no_pipeline_waits_for_the_thread_that_tunes_it(many):
    batches = datasets.Vocabulary.of(many).batches(many, 4)
    assert batches.options().autotune.enabled is False


def test_unknown_sentences_are_refused(many):
    vocabulary = datasets.Vocabulary.of(many)
    assert vocabulary.share_known(["a x", "y z"]) == 0.25
    with pytest.raises(ValueError, match="2 sentences of unknown words alone"):
        vocabulary.batches(["x", "y z"])
    held_out = vocabulary.batches(["x", "y z"], needs_known=False)
    assert [len(x) for (x,) in held_out] == [2]
    with pytest.raises(ValueError, match="at least one"):
        vocabulary.batches([])


def test_penn_treebank(data_dir):
    train, validation, test = datasets.ptb(data_dir)
    assert [len(x) for x in (train, validation, test)] == [42068, 3370, 3761]
    assert datasets.count_words(test) == 82430
    vocabulary = datasets.Vocabulary.of(train)
    # 10,000 classes with the unknown word and the end.
    assert vocabulary.size - 2 == 10000
    assert vocabulary.share_known(test) == 1 - 4794 / 78669
    found = vocabulary.batches(test, batch_size=64, shuffle=False)
    assert sum(np.count_nonzero(part) for part in contents(found)) == 82430


def test_penn_treebank_by_name_leaves_out_long_sentences(data_dir):
    loaded = datasets.load("ptb", data_dir=data_dir, max_length=20)
    assert max(len(x.split()) for x in loaded.train) == 20
    whole = datasets.load("ptb", data_dir=data_dir)
    left = [x for x in whole.test if len(x.split()) <= 20]
    assert loaded.test.tolist() == left
    assert "of more than 20 words" in loaded.description
