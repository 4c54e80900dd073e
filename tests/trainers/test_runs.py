"""What becomes of a run that is stopped, starved or spoilt."""

import errno
import io
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import keras
import matrix
import numpy as np
import programs
import pytest
import tensorflow as tf
from programs import read

import keras_vae as kv
from trainers import _lock
from trainers import _settings
from trainers import _states

run, main = programs.TRAIN.run, programs.TRAIN.main
THREE = ("--epochs=3", "--warmup=1 epoch")
LOCK_AND_WAIT = """
import fcntl, os, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
file.write(str(os.getpid()))
file.flush()
print("locked", flush=True)
time.sleep(600)
"""
# A limit on the size of files fails in HDF5 and in Python as a full disk does, and
# holds for root too.
LIMITED = """
import resource, sys
from absl import app, flags
from trainers import _flags, train

def main(argv):
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
    train.main(argv)

_flags.define_train(flags.FLAGS)
app.run(main)
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run at a stretch."""
    directory = tmp_path_factory.mktemp("runs") / "whole"
    run(directory, *THREE)
    return directory


@pytest.fixture(scope="module")
def stopped_once(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "stopped"
    with programs.killed(3, "training"):
        run(directory, *THREE)
    return directory


@pytest.fixture
def stopped(stopped_once, tmp_path):
    """A run of which two epochs are done."""
    shutil.copytree(stopped_once, tmp_path / "stopped")
    return tmp_path / "stopped"


def check_same_run(one, other):
    names = ("history.json", "metrics.json", "best.keras.json")
    programs.check_same_json(one, other, *names)
    for name in ("best.keras", "last.keras"):
        programs.check_same_weights(one / name, other / name)


def check_one_line(text, *parts):
    assert "\n" not in text
    for part in parts:
        assert str(part) in text


# === One program at a time ===


@pytest.fixture
def other_process(tmp_path):
    """A live process that holds the lock of a directory."""
    (tmp_path / "run").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", LOCK_AND_WAIT, tmp_path / "run" / _lock.NAME],
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"locked\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_directory_in_use_names_the_process(stopped, other_process, tmp_path):
    shutil.copytree(stopped, tmp_path / "run", dirs_exist_ok=True)
    before = sorted(os.listdir(tmp_path / "run"))
    check_one_line(
        main(tmp_path / "run", *THREE, "--resume"),
        "`--run_dir` must not be in use",
        f"process {other_process.pid} runs",
    )
    assert sorted(os.listdir(tmp_path / "run")) == before


@pytest.mark.slow
def test_the_lock_of_a_dead_process_is_taken_over(other_process, tmp_path, capsys):
    assert "in use" in main(tmp_path / "run", *THREE)
    os.kill(other_process.pid, signal.SIGKILL)
    other_process.wait()
    assert main(tmp_path / "run", *THREE) is None
    out = capsys.readouterr().out
    assert f"Process {other_process.pid}, which held the lock" in out
    assert not (tmp_path / "run" / _lock.NAME).exists()


@pytest.mark.slow
def test_two_programs_that_begin_in_one_new_directory(tmp_path, whole):
    first = programs.TRAIN.prepare(tmp_path / "run", *programs.SMALL, *THREE)
    second = programs.TRAIN.prepare(tmp_path / "run", *programs.SMALL, *THREE)
    perform = programs.train.train
    refused = []

    class Second(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            with pytest.raises(_settings.FlagError) as error:
                perform(*second)
            refused.append(str(error.value))

    fit = first[3].fit
    first[3].fit = lambda *args, callbacks, **kwargs: fit(
        *args, callbacks=[*callbacks, Second()], **kwargs
    )
    perform(*first)
    assert len(refused) == 3
    assert all(f"process {os.getpid()} runs" in text for text in refused)
    check_same_run(whole, tmp_path / "run")
    # And once the first one has ended.
    with pytest.raises(_settings.FlagError, match="which holds a run"):
        perform(*second)


@pytest.mark.slow
def test_the_lock_is_let_go_at_any_exit(stopped, monkeypatch):
    assert _lock.NAME not in os.listdir(stopped)
    with monkeypatch.context() as patch:
        patch.setattr(_states, "write", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(stopped, *THREE, "--resume")
    assert _lock.NAME not in os.listdir(stopped)


# === A disk that is full or read-only ===


def failing(error):
    def fail(*args, **kwargs):
        raise error

    return fail


DISK = {
    "full": (errno.ENOSPC, "the disk is full"),
    "quota": (errno.EDQUOT, "the quota of the disk is used up"),
    "read-only": (errno.EROFS, "the file system is read-only"),
    "forbidden": (errno.EACCES, "there is no permission"),
}


REST = [kind for kind in DISK if kind != "full"]


@pytest.mark.parametrize(
    ("owner", "name", "file", "kind"),
    matrix.first(
        3,
        [
            (pathlib.Path, "write_bytes", "state-000003.bin", "full"),
            (pathlib.Path, "mkdir", "", "read-only"),
            (_lock, "held", "", "forbidden"),
            *[(pathlib.Path, "write_bytes", "state-000003.bin", kind) for kind in REST],
            (pathlib.Path, "write_text", "history.json", "full"),
            (os, "replace", "history.json", "read-only"),
            (keras.Model, "save", "last.keras", "full"),
        ],
    ),
)
def test_a_write_that_fails_is_one_line(owner, name, file, kind, stopped, monkeypatch):
    code, reason = DISK[kind]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, failing(OSError(code, os.strerror(code))))
        text = main(stopped, *THREE, "--resume")
    check_one_line(text, reason, stopped / file, "--run_dir")
    assert not list(stopped.glob(".*"))


def test_a_full_disk_keeps_the_state_before(stopped, whole, monkeypatch):
    before = (stopped / "state-000002.bin").read_bytes()

    def write_half(path, content):
        with open(path, "wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "write_bytes", write_half)
        text = main(stopped, *THREE, "--resume")
    check_one_line(text, "the disk is full", "--resume")
    assert (stopped / "state-000002.bin").read_bytes() == before
    assert main(stopped, *THREE, "--resume") is None
    check_same_run(whole, stopped)


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.ResourceExhaustedError(
            None, None, "/r/tensorboard/events.v2; No space left on device"
        ),
        OSError(
            "Can't write data (file write failed: error message = 'No space left "
            "on device', file name '/r/x.h5')"
        ),
    ],
    ids=["TensorFlow", "HDF5"],
)
@pytest.mark.slow
def test_a_write_of_another_library_that_fails(error, stopped, monkeypatch):
    monkeypatch.setattr(kv.VAE, "export", failing(error))
    check_one_line(main(stopped, *THREE, "--resume"), "the disk is full", "/r/")


@pytest.mark.slow
def test_other_errors_are_not_hidden(stopped, monkeypatch):
    monkeypatch.setattr(kv.VAE, "export", failing(OSError("something else")))
    with pytest.raises(OSError, match="something else"):
        main(stopped, *THREE, "--resume")


@pytest.mark.slow
def test_a_process_that_may_not_write_ends_with_one_line(tmp_path):
    args = ("--hidden=64", "--epochs=2", "--batch_size=600", "--schedule=none")
    result = subprocess.run(
        [sys.executable, "-c", LIMITED, f"--run_dir={tmp_path / 'run'}", *args],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    *_, last = result.stderr.strip().splitlines()
    check_one_line(last, "files may not become so large here", tmp_path / "run")


# === Files that cannot be read ===


def cut(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "spoil",
    [
        cut,
        pytest.param(flip, marks=pytest.mark.slow),
        pytest.param(lambda path: path.write_bytes(b""), marks=pytest.mark.slow),
    ],
    ids=["cut", "flip", "empty"],
)
def test_the_state_before_is_used_and_that_is_said(spoil, stopped, whole, capsys):
    states = ["state-000001.bin", "state-000002.bin"]
    assert [path.name for path in _states.paths(stopped)] == states
    assert len(read(stopped, "history.json")) == 2
    spoil(stopped / "state-000002.bin")
    run(stopped, *THREE, "--resume")
    out = capsys.readouterr().out
    assert "state-000002.bin cannot be read: the run goes on from the state" in out
    assert "1 of 3 epochs are done" in out
    # Two more epochs, of which the history has each once.
    check_same_run(whole, stopped)


@pytest.mark.slow
def test_the_history_is_that_of_the_state(stopped, whole, capsys):
    (stopped / "history.json").write_text("{}")
    run(stopped, *THREE, "--resume")
    out = capsys.readouterr().out
    assert "history.json cannot be read: it holds {}. It is written anew" in out
    check_same_run(whole, stopped)


def test_without_a_state_that_can_be_read_it_names_file_and_remedy(stopped):
    for path in _states.paths(stopped):
        cut(path)
    before = sorted(os.listdir(stopped))
    text = main(stopped, *THREE, "--resume")
    check_one_line(text, stopped / "state-000002.bin", "Remove it to train from")
    assert sorted(os.listdir(stopped)) == before


@pytest.mark.parametrize(
    ("name", "spoil", "remedy"),
    [
        ("best.keras", cut, "Remove best.keras and best.keras.json"),
        ("best.keras.json", cut, "Remove best.keras and best.keras.json"),
        ("last.keras", cut, "Remove it to train"),
        ("config.json", cut, "Choose another --name"),
        ("history.json", lambda path: path.write_text("{}"), "Remove it to report"),
        ("history.json", cut, "Remove it to report"),
    ],
)
def test_files_of_a_finished_run_that_cannot_be_read(
    name, spoil, remedy, whole, tmp_path
):
    shutil.copytree(whole, tmp_path / "run")
    spoil(tmp_path / "run" / name)
    text = main(tmp_path / "run", *THREE, "--resume")
    check_one_line(text, tmp_path / "run" / name, "cannot be read", remedy)


@pytest.mark.parametrize("name", matrix.first(1, ["last.keras", "history.json"]))
@pytest.mark.slow
def test_the_remedy_helps(name, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / name).unlink()
    assert main(tmp_path / "run", *THREE, "--resume") is None
    programs.check_same_json(whole, tmp_path / "run", "metrics.json")
    programs.check_same_weights(whole / "last.keras", tmp_path / "run" / "last.keras")


def test_a_foreign_configuration_is_left_alone(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    check_one_line(main(tmp_path, *THREE, "--resume"), "holds other files")
    assert os.listdir(tmp_path) == ["config.json"]


@pytest.mark.slow
def test_an_empty_directory_and_what_a_killed_program_left_are_new(tmp_path, whole):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".partial-config.json").write_text("{")
    assert main(tmp_path / "run", *THREE, "--resume") is None
    check_same_run(whole, tmp_path / "run")


def test_the_state_of_another_model_is_refused(stopped):
    config = read(stopped, "config.json")
    (stopped / "config.json").write_text(json.dumps({**config, "hidden": [8]}))
    text = main(stopped, *THREE, "--resume", "--hidden=8")
    check_one_line(text, "state-000002.bin is of another model")


# === Data that have changed ===


def test_data_that_have_changed_do_not_go_on(tmp_path):
    x, directory = np.random.default_rng(0).uniform(size=(60, 4)), tmp_path / "run"
    args = ("--resume", f"--dataset={tmp_path / 'mine.npz'}")
    path = tmp_path / "mine.npz"
    np.savez(path, x_train=x[:50], x_test=x[50:], y_train=np.arange(50) % 3)
    programs.TRAIN.begin(directory, *args)
    before = read(directory, "config.json")
    assert before["contents"]["examples"]["train"]["shape"] == [50, 4]
    # Values, of which some also make for another likelihood; and their number.
    for train, test, message in (
        (x[:50][::-1], x[50:], f"--dataset={path}, where train has other values$"),
        (9 * x[:50], x[50:], f"--dataset={path}, where train has other values$"),
        (x[:50], x[51:], r"where test of shape \(10, 4\) became \(9, 4\)$"),
    ):
        np.savez(path, x_train=train, x_test=test)
        with pytest.raises(_settings.FlagError, match="`--dataset` must hold") as error:
            programs.TRAIN.prepare(directory, *programs.SMALL, *args)
        assert re.search(message, str(error.value))
    # Flags that differ are named first.
    with pytest.raises(_settings.FlagError, match="--hidden=16 became 5"):
        programs.TRAIN.prepare(directory, *programs.SMALL, *args, "--hidden=5")
    # Labels that the model does not take are none of its data.
    np.savez(path, x_train=x[:50], x_test=x[50:], y_train=np.zeros(50, int))
    programs.TRAIN.begin(directory, *args, "--epochs=101")
    assert read(directory, "config.json")["contents"] == before["contents"]


def test_labels_that_have_changed_do_not_go_on(tmp_path):
    x = np.random.default_rng(0).uniform(size=(60, 4))
    dataset = f"--dataset={tmp_path / 'mine.npz'}"
    args = (dataset, "--resume", "--condition=labels")
    np.savez(tmp_path / "mine.npz", x=x, y=np.arange(60) % 3)
    programs.TRAIN.begin(tmp_path / "run", *args)
    np.savez(tmp_path / "mine.npz", x=x, y=np.arange(60) % 2)
    with pytest.raises(_settings.FlagError, match="where labels of train has other"):
        programs.TRAIN.prepare(tmp_path / "run", *programs.SMALL, *args)


def test_a_run_that_knows_no_sums_of_its_data_goes_on(tmp_path):
    x = np.random.default_rng(0).uniform(size=(60, 4))
    args = ("--resume", f"--dataset={tmp_path / 'mine.npy'}")
    np.save(tmp_path / "mine.npy", x)
    programs.TRAIN.begin(tmp_path / "run", *args)
    config = read(tmp_path / "run", "config.json")
    del config["contents"]
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    np.save(tmp_path / "mine.npy", x[::-1])
    programs.TRAIN.begin(tmp_path / "run", *args)


# === Ctrl-C ===


@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        pytest.param(keras.Model, "evaluate", 2, id="validation"),
        pytest.param(np, "savez", 2, id="state", marks=pytest.mark.slow),
        pytest.param(keras.Model, "save", 1, id="best", marks=pytest.mark.slow),
        pytest.param(os, "replace", 4, id="rename", marks=pytest.mark.slow),
        pytest.param(_states, "write", 1, id="first state", marks=pytest.mark.slow),
        pytest.param(kv.VAE, "export", 1, id="export", marks=pytest.mark.slow),
    ],
)
def test_ctrl_c_leaves_a_run_that_goes_on(
    owner, name, call, whole, tmp_path, monkeypatch, capsys
):
    function, calls = getattr(owner, name), []

    def interrupted(*args, **kwargs):
        calls.append(args)
        if len(calls) == call:
            raise KeyboardInterrupt
        return function(*args, **kwargs)

    directory = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupted)
        assert main(directory, *THREE) == 130
    assert f"Stopped. {directory} continues with" in capsys.readouterr().out
    assert not list(directory.glob(".*"))
    assert main(directory, *THREE, "--resume") is None
    check_same_run(whole, directory)


def test_ctrl_c_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pathlib.Path, "mkdir", failing(KeyboardInterrupt()))
    assert main(tmp_path / "run", *THREE) == 130
    assert "Stopped. Nothing was written." in capsys.readouterr().out


# === More epochs ===


def test_a_finished_run_takes_more_epochs(whole, tmp_path, capsys):
    directory = tmp_path / "run"
    shutil.copytree(whole, directory)
    run(directory, "--epochs=5", "--warmup=1 epoch", "--resume")
    assert "begun with 3 epochs" in capsys.readouterr().out
    run(tmp_path / "five", "--epochs=5", "--warmup=1 epoch")
    check_same_run(tmp_path / "five", directory)
    config = read(directory, "config.json")
    assert (config["epochs"], config["planned_epochs"]) == (5, 3)
    # Asked once more, it reports; asked for fewer, it refuses.
    metrics = read(directory, "metrics.json")
    assert main(directory, "--epochs=5", "--warmup=1 epoch", "--resume") is None
    assert read(directory, "metrics.json") == metrics
    text = main(directory, "--epochs=4", "--warmup=1 epoch", "--resume")
    assert "--epochs=5 became 4" in text


@pytest.mark.slow
def test_fractions_keep_the_steps_of_the_first_epochs(tmp_path):
    args = ("--warmup=50%", "--validation_fraction=0")
    # Five steps an epoch: the ramp of 4 epochs ends with the second one.
    with programs.killed(3, "state"):
        run(tmp_path, "--epochs=4", *args)
    weights = [row["kl_weight"] for row in read(tmp_path, "history.json")]
    run(tmp_path, "--epochs=8", *args, "--resume")
    rows = read(tmp_path, "history.json")
    assert [row["epoch"] for row in rows] == list(range(1, 9))
    assert [row["kl_weight"] for row in rows[:2]] == weights[:2]
    # Of 8 epochs half are 4.
    assert [row["kl_weight"] for row in rows[2:]] == [1.0] * 6


@pytest.mark.slow
def test_a_longer_run_that_is_killed_goes_on(whole, tmp_path):
    directory = tmp_path / "run"
    shutil.copytree(whole, directory)
    longer = ("--epochs=5", "--warmup=1 epoch", "--resume")
    with programs.killed(5, "training"):
        run(directory, *longer)
    assert not (directory / "metrics.json").exists()
    run(directory, *longer)
    assert len(read(directory, "history.json")) == 5


def test_epochs_are_counted_without_their_history(whole, tmp_path):
    directory = tmp_path / "run"
    shutil.copytree(whole, directory)
    for name in ("history.json", "history.csv"):
        (directory / name).unlink()
    longer = (*programs.SMALL, "--epochs=5", "--warmup=1 epoch", "--resume")
    with programs.killed(5, "training"):
        programs.TRAIN.run_as_it_is(directory, *longer)
    assert [path.name for path in _states.paths(directory)] == [
        "state-000003.bin",
        "state-000004.bin",
    ]
    begun = programs.TRAIN.prepare(directory, *longer)[1]
    assert begun.finished_epochs == 4
    assert [row["epoch"] for row in begun.rows] == [4]
    assert np.isfinite(begun.history["loss"]).tolist() == [False] * 3 + [True]


def test_a_learning_rate_that_has_fallen_cannot_go_on(tmp_path):
    args = ("--warmup=1", "--learning_rate_decay=cosine")
    run(tmp_path, "--epochs=1", *args)
    before = sorted(os.listdir(tmp_path))
    text = main(tmp_path, "--epochs=2", *args, "--resume")
    check_one_line(text, "`--epochs` must stay 1", "--learning_rate_decay=cosine")
    assert sorted(os.listdir(tmp_path)) == before


# === Divergence ===

DIVERGING = ("--likelihood=normal", "--schedule=none", "--learning_rate=1e12")


@pytest.mark.parametrize(
    "decay", ["none", pytest.param("cosine", marks=pytest.mark.slow)]
)
def test_a_run_that_diverges_stops_with_one_line(decay, tmp_path):
    args = (*DIVERGING, "--epochs=3", f"--learning_rate_decay={decay}")
    text = main(tmp_path, *args)
    check_one_line(text, "Training diverged at batch", "--on_divergence=halve")
    assert not (tmp_path / "last.keras").exists()
    assert not _states.paths(tmp_path)
    # Halved three times it is still far too high.
    with pytest.warns(UserWarning, match="learning rate") as warned:
        text = main(tmp_path, *args, "--resume", "--on_divergence=halve")
    said = "".join(str(w.message) for w in warned)
    assert [f"restart {n} of 3" in said for n in (1, 2, 3, 4)] == [True] * 3 + [False]
    check_one_line(text, "Training stops")
    # No epoch counts as done that leaves weights with which no loss is finite.
    for path in _states.paths(tmp_path):
        state, _ = _states.newest(tmp_path)
        file = np.load(io.BytesIO(state.arrays))
        values = [file[name] for name in file.files if file[name].ndim]
        assert all(np.abs(value).max() < 1e6 for value in values), path


@pytest.mark.slow
def test_a_run_that_diverges_once_goes_on(tmp_path, monkeypatch):
    write, seen = _states.write, []

    def write_and_spoil(directory, model, epoch, rows):
        write(directory, model, epoch, rows)
        seen.append(float(model.optimizer.learning_rate))
        if epoch == 1:
            bias = model.decoder.weights[-1]
            bias.assign(np.nan * bias)

    monkeypatch.setattr(_states, "write", write_and_spoil)
    args = (*THREE, "--on_divergence=halve", "--learning_rate_decay=cosine")
    with pytest.warns(UserWarning, match="0.5 times the learning rate"):
        assert main(tmp_path, *args) is None
    assert all(np.isfinite(row["loss"]) for row in read(tmp_path, "history.json"))


def test_a_lowered_rate_is_resumed(tmp_path, monkeypatch):
    from keras_vae import learning_rates

    args = (*THREE, "--learning_rate_decay=cosine")
    write = _states.write

    def lower_and_write(directory, model, epoch, rows):
        learning_rates.set_scale(model.optimizer, 0.25)
        write(directory, model, epoch, rows)

    with programs.killed(2, "training"), monkeypatch.context() as patch:
        kill = _states.write
        patch.setattr(
            _states,
            "write",
            lambda *a: lower_and_write(*a) if a[2] == 1 else kill(*a),
        )
        run(tmp_path, *args)
    session = programs.TRAIN.prepare(tmp_path, *programs.SMALL, *args, "--resume")
    session[1].restore(session[3])
    assert learning_rates.scale(session[3].optimizer) == 0.25


@pytest.mark.slow
def test_divergence_may_be_ignored(tmp_path):
    args = (*DIVERGING, "--epochs=1", "--on_divergence=ignore")
    with (
        pytest.warns(UserWarning, match="never the best"),
        pytest.warns(UserWarning, match="No model was saved"),
    ):
        check_one_line(main(tmp_path, *args), "nothing to report", "--learning_rate")
    assert not np.isfinite(read(tmp_path, "history.json")[0]["loss"])
    assert not (tmp_path / "best.keras").exists()
