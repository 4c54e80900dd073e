"""The same `fit` by Keras's own loop and under "auto", and all that one sees of it."""

import contextlib
import dataclasses
import pathlib

import keras
import numpy as np
import tensorflow as tf

import keras_vae as kv
from keras_vae.training import choice

BATCH, FEATURES, CLASSES = 10, 6, 3

AXES = {
    "model": ["vae", "classifier"],
    "feed": [
        "array",
        "tensor",
        "dataset",
        "endless_dataset",
        "unknown_dataset",
        "fixed_unknown_dataset",
        "generator",
        "py_dataset",
        "py_dataset_workers",
        "endless_py_dataset",
    ],
    "size": [100, 93],
    "steps_per_epoch": [None, 4, 7],
    "initial_epoch": [0, 1],
    "validation": [None, "arrays", "split", "endless"],
    "validates": [None, "steps", "freq", "batch_size"],
    "weights": [None, "sample_weight", "class_weight"],
    "saves": [None, "checkpoint", "own_checkpoint", "backup"],
    "steers": [None, "rate_schedule", "reduce_rate", "swap_ema", "annealing"],
    "ends": [None, "terminate_on_nan", "early_stopping", "csv", "interrupt_epoch"],
    "watches": [None, "tensorboard", "batch_begin", "batch_end", "interrupt_batch"],
    "hooks": [None, "test_hooks", "predict_hooks", "epoch_hooks"],
    "between": [None, "freeze", "recompile", "short_first"],
    "limit": [None, "epochs", "steps"],
    "optimizer": ["plain", "ema", "accumulation", "loss_scale"],
}
ENDLESS = ("endless_dataset", "generator", "endless_py_dataset")
ARRAYS = ("array", "tensor")
CALLBACKS = ("saves", "steers", "ends", "watches", "hooks")


def is_valid(case):
    """Whether Keras takes the combination."""
    rules = (
        case["steps_per_epoch"] or case["feed"] not in ENDLESS,
        # Keras gives an epoch of an unknown length what the one before had left.
        case["steps_per_epoch"] is None or "unknown" not in case["feed"],
        case["limit"] != "steps" or "unknown" not in case["feed"],
        # What its threads have read ahead begins the next epoch, more or less of it.
        "workers" not in case["feed"]
        or (case["steps_per_epoch"] is None and case["limit"] != "steps"),
        # No epoch is left.
        case["limit"] != "epochs" or case["initial_epoch"] == 0,
        # A batch is begun that never comes, and counted.
        case["watches"] not in ("tensorboard", "batch_begin")
        or "unknown" not in case["feed"],
        case["validation"] != "split" or case["feed"] in ARRAYS,
        case["validation"] == "arrays" or case["validates"] is None,
        case["weights"] != "class_weight"
        or (case["model"] == "classifier" and case["feed"] != "generator"),
        case["steers"] != "annealing"
        or (case["model"] == "vae" and case["limit"] is None),
        # The schedule would not end.
        case["steers"] != "annealing" or case["optimizer"] != "accumulation",
        # A new optimiser has no averages at its first epoch's start.
        case["steers"] != "swap_ema"
        or (case["optimizer"] == "ema" and case["between"] != "recompile"),
        # Its file stays open.
        case["ends"] != "csv" or case["watches"] != "interrupt_batch",
        # Keras pairs the averages with what is trainable now.
        case["optimizer"] != "ema" or case["between"] != "freeze",
        # The examples that are not numbers must come late, and unnoticed.
        case["ends"] != "terminate_on_nan"
        or (case["model"] == "classifier" and case["validation"] != "split"),
        case["watches"] != "interrupt_batch" or case["limit"] is None,
        case["ends"] != "interrupt_epoch" or case["limit"] is None,
        case["ends"] != "interrupt_epoch" or case["watches"] != "interrupt_batch",
    )
    return all(rules)


@dataclasses.dataclass
class Outcome:
    """What can be seen of a run."""

    calls: list
    histories: list
    files: dict
    weights: list
    iterations: list


# === Models and data ===


@keras.saving.register_keras_serializable("differential")
class Classifier(kv.BlockTraining, keras.Model):
    """A functional classifier with a latent and a dropout."""


def make_model(case, settings):
    keras.utils.set_random_seed(2)
    if case["model"] == "vae":
        model = kv.VAE(
            kv.networks.mlp_encoder([5], activation="tanh"),
            kv.networks.mlp_decoder([5], (FEATURES,), activation="tanh"),
            latent_dim=2,
            seed=1,
        )
        model.build((None, FEATURES))
        compile_model(model, case, settings)
        return model
    inputs = keras.Input((FEATURES,))
    hidden = keras.layers.Dense(5, "tanh", name="hidden")(inputs)
    z = kv.layers.Latent(3, kl_weight=0.1, seed=3)(hidden)
    outputs = keras.layers.Dense(CLASSES, "softmax")(z)
    model = Classifier(inputs, outputs)
    compile_model(model, case, settings)
    return model


def compile_model(model, case, settings):
    kind = case["optimizer"]
    optimizer = keras.optimizers.SGD(
        0.05,
        use_ema=kind == "ema",
        ema_momentum=0.9,
        ema_overwrite_frequency=6 if kind == "ema" else None,
        gradient_accumulation_steps=2 if kind == "accumulation" else None,
    )
    if kind == "loss_scale":
        optimizer = keras.optimizers.LossScaleOptimizer(
            optimizer, initial_scale=8.0, dynamic_growth_steps=4
        )
    if isinstance(model, kv.VAE):
        model.compile(optimizer, **settings)
    else:
        model.compile(
            optimizer,
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
            **settings,
        )


def numbers(size, seed=0):
    """Returns examples, labels and weights; fewer are the first of more."""
    generator = np.random.default_rng(seed)
    x = np.float32(generator.random((100, FEATURES)) < 0.4)[:size]
    weights = np.float32(generator.random(100))[:size]
    return x, np.int32(x.sum(-1)) % CLASSES, weights


class Rows(keras.utils.PyDataset):
    def __init__(self, arrays, is_endless=False, **kwargs):
        super().__init__(**kwargs)
        self.arrays, self.is_endless = arrays, is_endless

    @property
    def num_batches(self):
        return None if self.is_endless else -(-len(self.arrays[0]) // BATCH)

    def __getitem__(self, place):
        start = place * BATCH % len(self.arrays[0])
        return tuple(part[start : start + BATCH] for part in self.arrays)


def batches(arrays, fixed=False):
    size = len(arrays[0]) // BATCH * BATCH if fixed else len(arrays[0])
    for start in range(0, size, BATCH):
        yield tuple(part[start : start + BATCH] for part in arrays)


def feed(kind, arrays):
    """Returns the arguments of `fit` for x, y and the weights."""
    names = ("x", "y", "sample_weight")
    if kind in ARRAYS:
        convert = tf.constant if kind == "tensor" else np.asarray
        parts = dict(zip(names, map(convert, arrays), strict=False))
        return {**parts, "batch_size": BATCH}
    if "py_dataset" in kind:
        workers = {"workers": 2, "max_queue_size": 3} if "workers" in kind else {}
        x = Rows(arrays, is_endless="endless" in kind, **workers)
    elif kind == "generator":
        x = (batch for _ in range(20) for batch in batches(arrays))
    elif "unknown" in kind:
        fixed = "fixed" in kind
        signature = tuple(
            tf.TensorSpec((BATCH if fixed else None, *part.shape[1:]), part.dtype)
            for part in arrays
        )
        x = tf.data.Dataset.from_generator(
            lambda: batches(arrays, fixed), output_signature=signature
        )
    else:
        x = tf.data.Dataset.from_tensor_slices(arrays).batch(BATCH)
        x = x.repeat() if "endless" in kind else x
    return {"x": x, "shuffle": False}


def fit_arguments(case):
    x, y, weights = numbers(case["size"])
    if case["ends"] == "terminate_on_nan":
        x[55:] = np.nan
    arrays = (x,) if case["model"] == "vae" else (x, y)
    if case["weights"] == "sample_weight":
        arrays = (x, x if case["model"] == "vae" else y, weights)
    arguments = feed(case["feed"], arrays)
    if case["weights"] == "class_weight":
        arguments["class_weight"] = {0: 0.5, 1: 1.0, 2: 2.0}
    if case["steps_per_epoch"]:
        arguments["steps_per_epoch"] = case["steps_per_epoch"]
    vx, vy, _ = numbers(35, seed=1)
    held_out = (vx,) if case["model"] == "vae" else (vx, vy)
    kind = case["validation"]
    if kind == "split":
        arguments["validation_split"] = 0.2
    elif kind == "endless":
        data = tf.data.Dataset.from_tensor_slices(held_out).batch(7).repeat()
        arguments |= {"validation_data": data, "validation_steps": 3}
    elif kind:
        arguments["validation_data"] = held_out
        if case["validates"] == "steps":
            arguments |= {"validation_steps": 2, "validation_batch_size": 7}
        if case["validates"] == "freq":
            arguments["validation_freq"] = 2
        if case["validates"] == "batch_size":
            arguments["validation_batch_size"] = 8
    return arguments


# === Callbacks ===


class Recorder(keras.callbacks.Callback):
    """Writes down all calls and their logs; it reads no model, and says so."""

    def __init__(self, calls):
        super().__init__()
        for name in dir(keras.callbacks.Callback):
            if name.startswith("on_") and name not in (
                "on_batch_begin",
                "on_batch_end",
            ):
                setattr(self, name, self._writer(calls, name))

    def steps_until_action(self):
        return None

    @staticmethod
    def _writer(calls, name):
        def write(*args, **kwargs):
            place = [arg for arg in args if isinstance(arg, int)]
            logs = next((a for a in args if isinstance(a, dict)), kwargs.get("logs"))
            logs = {k: v for k, v in (logs or {}).items() if k != "outputs"}
            calls.append((name, place, {k: float(v) for k, v in logs.items()}))

        return write


class AtBatch(keras.callbacks.Callback):
    """A hook of the user's own that reads the model."""

    def __init__(self, calls):
        super().__init__()
        self.calls = calls

    def _read(self, batch):
        total = float(np.sum(np.abs(self.model.trainable_variables[0].numpy())))
        self.calls.append(("read", [batch], {"total": total}))


class AtBegin(AtBatch):
    def on_train_batch_begin(self, batch, logs=None):
        self._read(batch)


class AtEnd(AtBatch):
    def on_batch_end(self, batch, logs=None):
        self._read(batch)


class AtTest(AtBatch):
    def on_test_batch_end(self, batch, logs=None):
        self._read(batch)


class AtPredict(AtBatch):
    def on_predict_batch_end(self, batch, logs=None):
        self._read(batch)


class AtEpoch(AtBatch):
    def on_epoch_end(self, epoch, logs=None):
        self._read(epoch)


class Interrupt(keras.callbacks.Callback):
    """Ctrl-C, once."""

    def __init__(self):
        super().__init__()
        self.is_done = False

    def _press(self):
        if not self.is_done:
            self.is_done = True
            raise KeyboardInterrupt


class InterruptBatch(Interrupt):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 2:
            self._press()


class InterruptEpoch(Interrupt):
    def on_epoch_end(self, epoch, logs=None):
        self._press()


def make_callback(kind, directory, calls):
    make = {
        "checkpoint": lambda: keras.callbacks.ModelCheckpoint(
            f"{directory}/{{epoch}}-{{batch}}.keras", save_freq=3
        ),
        "own_checkpoint": lambda: kv.callbacks.ModelCheckpoint(
            f"{directory}/{{epoch}}-{{batch}}.keras",
            save_freq=4,
            save_best_only=False,
        ),
        "backup": lambda: keras.callbacks.BackupAndRestore(
            f"{directory}/backup", save_freq=3, delete_checkpoint=False
        ),
        "tensorboard": lambda: keras.callbacks.TensorBoard(directory, update_freq=3),
        "terminate_on_nan": keras.callbacks.TerminateOnNaN,
        "rate_schedule": lambda: keras.callbacks.LearningRateScheduler(
            lambda epoch, rate: rate / 2
        ),
        "reduce_rate": lambda: keras.callbacks.ReduceLROnPlateau(
            "loss", patience=1, min_delta=10.0
        ),
        "early_stopping": lambda: keras.callbacks.EarlyStopping(
            "loss", patience=0, min_delta=10.0, restore_best_weights=True
        ),
        "csv": lambda: keras.callbacks.CSVLogger(f"{directory}/log.csv"),
        "swap_ema": lambda: keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
        "annealing": lambda: kv.KLAnnealing(kv.schedules.linear(3), restart=True),
        "batch_begin": lambda: AtBegin(calls),
        "batch_end": lambda: AtEnd(calls),
        "test_hooks": lambda: AtTest(calls),
        "predict_hooks": lambda: AtPredict(calls),
        "epoch_hooks": lambda: AtEpoch(calls),
        "interrupt_batch": InterruptBatch,
        "interrupt_epoch": InterruptEpoch,
    }
    return make[kind]()


# === Runs ===


def run(case, settings, directory):
    """Trains twice, and if there are hooks for it evaluates and predicts.

    Args:
        case: Dict, a combination of `AXES`.
        settings: Dict, arguments of `compile`.
        directory: Path of the callbacks' files.

    Returns:
        An `Outcome`.
    """
    model = make_model(case, settings)
    calls, histories, iterations = [], [], []
    kinds = [case[name] for name in CALLBACKS]
    callbacks = [make_callback(x, str(directory), calls) for x in kinds if x]
    with limits(case["limit"]):
        for place in range(2):
            if place and case["between"] == "freeze":
                model.layers[0].trainable = False
            if place and case["between"] == "recompile":
                compile_model(model, case, settings)
            short = case["between"] == "short_first" and not place
            keras.utils.set_random_seed(5)
            try:
                history = model.fit(
                    **fit_arguments(case),
                    epochs=1 if short else 2,
                    initial_epoch=0 if short else case["initial_epoch"],
                    callbacks=[*callbacks, Recorder(calls)],
                    verbose=0,
                )
                histories.append(history.history)
            except KeyboardInterrupt:
                calls.append(("interrupted", [], {}))
            iterations.append(int(model.optimizer.iterations))
        variables = [*model.variables, *model.optimizer.variables]
        weights = [np.asarray(variable.value) for variable in variables]
        if case["hooks"]:
            logs, outputs = use(model, case, [*callbacks, Recorder(calls)])
            histories.append({name: [value] for name, value in logs.items()})
            weights.append(outputs)
    return Outcome(calls, histories, files(directory), weights, iterations)


def use(model, case, callbacks):
    """Evaluates and predicts, which only hooks of the user's can tell apart."""
    x, y, _ = numbers(35, seed=1)
    target = {} if case["model"] == "vae" else {"y": y}
    settings = {"batch_size": 8, "verbose": 0, "callbacks": callbacks}
    logs = model.evaluate(x, **target, return_dict=True, **settings)
    return logs, model.predict(x, **settings)


@contextlib.contextmanager
def limits(kind):
    if kind == "epochs":
        keras.config.set_max_epochs(1)
    if kind == "steps":
        keras.config.set_max_steps_per_epoch(3)
    try:
        yield
    finally:
        keras.config.set_max_epochs(None)
        keras.config.set_max_steps_per_epoch(None)


def files(directory):
    """Returns the names of files, and for event files the tags with their steps."""
    found = {}
    for path in sorted(pathlib.Path(directory).rglob("*")):
        name = str(path.relative_to(directory))
        if "events.out" in name:
            events = tf.compat.v1.train.summary_iterator(str(path))
            tags = sorted((v.tag, e.step) for e in events for v in e.summary.value)
            found.setdefault(str(pathlib.Path(name).parent), []).extend(tags)
        elif path.is_file():
            found[name] = None
    return found


@contextlib.contextmanager
def stock(monkeypatch):
    """Lets the models of this library train by Keras's own code."""
    with monkeypatch.context() as patch:
        for name in ("fit", "make_train_function", "make_test_function"):
            patch.setattr(kv.BlockTraining, name, getattr(keras.Model, name))
        yield


@contextlib.contextmanager
def short_blocks(monkeypatch, short=11):
    """Lets "auto" compile fits of `short` steps, in blocks that divide nothing."""
    with monkeypatch.context() as patch:
        for name, steps in (
            ("SHORT", short),
            ("XLA_BLOCK", 4),
            ("RESIDENT_BLOCK", 6),
            ("GRAPH_BLOCK", 3),
        ):
            patch.setattr(choice, name, steps)
        yield
