"""What every model of `recipes.RECIPES` has to do, whatever it is made of."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import recipes
import tensorflow as tf

import keras_vae as kv
from keras_vae import _keras

# With `-m slow`: of these the essential is in tests of their own, or in a recipe whose
# graph is alike.
SLOW = {
    "factor",
    "aggressive",
    "continuous_bernoulli_beta",
    "normal_fixed_many_samples",
    "normal_shared_full_covariance",
    "normal_per_output_learned_prior",
    "committed_posterior",
    "importance_weighted_vamp_prior",
    "latent_capacity",
    "skip_connections_and_input_dropout",
    "multi_rate_convolutions",
    "standardized_data_in_their_own_units",
    "planar_posterior_importance_weighted",
    "flow_prior",
    "conditional_multi_rate",
    "reading_classes_and_conditions",
    "top_down_importance_weighted",
    "maps_top_down",
    "maps_bottom_up",
    "residual_maps_ladder",
    "conditional_levels_with_missing_elements",
    "functional_ladder",
}
every = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name in recipes.RECIPES
    ],
)
# One of each graph. The others come with `-m slow` in what takes several compilations.
CORE = {
    "bernoulli",
    "normal_optimal",
    "vamp_prior",
    "importance_weighted",
    "categorical_full_covariance_learned_prior",
    "latent",
    "multi_rate",
    "two_latents",
    "reading",
    "reading_sentences",
    "two_levels",
}
every_costly = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in CORE else pytest.mark.slow)
        for name in recipes.RECIPES
    ],
)
# Two of them, in the precisions that few use.
every_wide = pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=[] if name in ("vamp_prior", "latent") else pytest.mark.slow
        )
        for name in recipes.RECIPES
    ],
)
FIT = {"batch_size": 8, "shuffle": False, "verbose": 0}
STEPS_PER_EPOCH = recipes.EXAMPLES // FIT["batch_size"]


@dataclasses.dataclass
class Run:
    """A recipe that has been trained for two epochs; to be read, not trained on."""

    recipe: recipes.Recipe
    history: dict

    @property
    def model(self):
        return self.recipe.model


@pytest.fixture(scope="module")
def runs():
    """Trained recipes by name, each trained when it is first asked for."""
    return {}


@pytest.fixture
def run(name, runs):
    if name not in runs:
        recipe = recipes.make(name)
        model = recipe.compile(adam(), jit_compile=False)
        history = model.fit(**recipe.data, epochs=2, **FIT).history
        runs[name] = Run(recipe, history)
    return runs[name]


def adam():
    return keras.optimizers.Adam(1e-2)


def configs(model):
    """Configs of what a model is made of; Keras renames a functional model's inputs."""
    return [
        layer.get_config()
        for layer in model.layers
        if not isinstance(layer, keras.layers.InputLayer)
    ]


def values(variables):
    return {variable.path: np.asarray(variable) for variable in variables}


def assert_same(variables, others, rtol=0.0, atol=0.0):
    assert len(variables) == len(others) > 0
    for this, other in zip(variables, others, strict=True):
        np.testing.assert_allclose(
            np.asarray(this), np.asarray(other), rtol=rtol, atol=atol, err_msg=this.path
        )


def updates(recipe, epochs):
    """Updates of the optimiser, by which schedules count."""
    return epochs * STEPS_PER_EPOCH // recipe.steps_per_update


def evaluation(model, recipe):
    return model.evaluate(**recipe.data, batch_size=8, verbose=0, return_dict=True)


# === Training ===


@every_costly
def test_loss_falls_and_is_finite(run):
    assert np.all(np.isfinite(list(run.history.values())))
    assert run.history["loss"][1] < run.history["loss"][0]
    assert run.history["kl_loss"][0] > 0


@every
def test_every_trainable_weight_gets_a_gradient(name):
    recipe = recipes.make(name)
    model = recipe.compile(keras.optimizers.SGD(1e-2), run_eagerly=True)
    recipe.build(model)
    before = values(model.trainable_variables)
    assert len(before) == len(model.trainable_variables)
    for _ in range(recipe.updates_until_all_move * recipe.steps_per_update):
        model.train_on_batch(**recipe.data)
    still = [
        path
        for path, value in values(model.trainable_variables).items()
        if np.array_equal(value, before[path])
    ]
    assert not still


@every_costly
def test_eager_graph_and_xla_train_alike(name):
    losses, models = [], []
    for mode in ({"run_eagerly": True}, {"jit_compile": False}, {"jit_compile": True}):
        recipe = recipes.make(name)
        if mode.get("jit_compile") and not recipe.supports_xla:
            continue
        model = recipe.compile(keras.optimizers.SGD(1e-2), **mode)
        losses.append(model.train_on_batch(**recipe.data))
        models.append(model)
    np.testing.assert_allclose(losses[1:], losses[:1] * len(losses[1:]), rtol=1e-5)
    for model in models[1:]:
        assert_same(model.weights, models[0].weights, rtol=1e-4, atol=1e-6)


@every_wide
def test_mixed_float16(name):
    check_precision(name, "mixed_float16")


@every_wide
def test_mixed_bfloat16(name):
    check_precision(name, "mixed_bfloat16")


@every_wide
def test_float64(name):
    keras.config.set_floatx("float64")
    try:
        check_precision(name, "float64", "float64")
    finally:
        keras.config.set_floatx("float32")


def check_precision(name, policy, variable_dtype="float32"):
    keras.config.set_dtype_policy(policy)
    recipe = recipes.make(name)
    model = recipe.compile(adam(), jit_compile=False)
    history = model.fit(**recipe.data, epochs=2, **FIT).history
    assert np.all(np.isfinite(list(history.values())))
    assert history["loss"][1] < history["loss"][0]
    dtypes = {v.dtype for v in model.trainable_variables}
    # Heads, and what the library's own parts learn, are float32 always.
    assert variable_dtype in dtypes
    assert dtypes <= {variable_dtype, "float32"}


@every_costly
def test_same_seed_same_weights_and_resume_goes_on_alike(name, run, tmp_path):
    for epochs in (1, 2):
        recipe = recipes.make(name)
        model = recipe.compile(adam(), jit_compile=False)
        backup = keras.callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)
        history = model.fit(**recipe.data, epochs=epochs, callbacks=[backup], **FIT)
    assert history.epoch == [1]
    assert int(model.optimizer.iterations) == updates(recipe, epochs=2)
    assert_same(model.weights, run.model.weights)
    assert_same(model.optimizer.variables, run.model.optimizer.variables)


@every_costly
def test_a_schedule_moves_the_weight_without_a_trace(name, monkeypatch):
    recipe = recipes.make(name)
    model = recipe.compile(adam(), jit_compile=False)
    traces = []
    advance = kv.ELBO.advance

    def traced(objective):
        traces.append(objective.name)
        advance(objective)

    monkeypatch.setattr(kv.ELBO, "advance", traced)
    last_steps = np.array([updates(recipe, epochs) - 1 for epochs in (1, 2, 3)])
    annealing = kv.KLAnnealing(kv.schedules.linear(int(last_steps[-1])))
    if any(h.controlled for h in _keras.sublayers(model, kv.Hyperparameter)):
        with pytest.raises(ValueError, match="a schedule cannot"):
            model.fit(**recipe.data, callbacks=[annealing], **FIT)
        return
    history = model.fit(**recipe.data, epochs=3, callbacks=[annealing], **FIT).history
    np.testing.assert_allclose(history["kl_weight"], last_steps / last_steps[-1])
    objectives = _keras.sublayers(model, kv.ELBO)
    # Keras's symbolic build and one trace.
    assert len(objectives) <= len(traces) <= 2 * len(objectives)


# === Evaluation ===


@every_costly
def test_evaluations_agree_and_leave_the_weights(run):
    before = values(run.model.weights)
    first = evaluation(run.model, run.recipe)
    run.model.predict(run.recipe.x, verbose=0)
    assert evaluation(run.model, run.recipe) == first
    assert np.all(np.isfinite(list(first.values())))
    after = values(run.model.weights)
    assert all(np.array_equal(after[path], before[path]) for path in before)


@every_costly
def test_a_diagnosis_is_made_without_a_trace(run):
    model, data = run.model, (run.recipe.x,)
    if isinstance(model, kv.MultiRateVAE):
        model = model.at(model.beta)
    if run.recipe.y is not None:
        data += (run.recipe.y,)
    before = values(model.weights)
    diagnosis = kv.diagnose(model, data, audit=False)
    assert diagnosis.evidence["num_examples"] == recipes.EXAMPLES
    # By Monte Carlo it may come out just below zero.
    kl = getattr(getattr(model, "objective", None), "kl", "analytic")
    assert diagnosis.evidence["rate"] > (0 if kl == "analytic" else -0.1)
    assert np.isfinite(diagnosis.evidence["shuffle_cost"])
    assert json.loads(json.dumps(diagnosis.to_dict()))["verdict"] in str(diagnosis)
    after = values(model.weights)
    assert all(np.array_equal(after[path], before[path]) for path in before)


@every
def test_a_decoder_reads_only_what_comes_before(run):
    model = run.model
    if not getattr(model, "reads_target", False):
        pytest.skip("the decoder takes z alone")
    data = tf.nest.map_structure(lambda v: v[:1], run.recipe.x)
    x, condition = model.conditions.split(data)
    z, places = tf.ones((1, 1, model.latent_dim)), x.shape[1:-1]

    def params(x):
        decoded = model._decode(z, model.readable(x, condition))
        return np.reshape(decoded, (np.prod(places), -1))

    values = np.unique(model.conditions.main(run.recipe.x))
    before, sees_something = params(x), False
    for place in range(len(before)):
        changed = np.array(x)
        where = (0, *np.unravel_index(place, places))
        changed[where] = np.where(changed[where] == values[-1], values[0], values[-1])
        after = params(changed)
        np.testing.assert_array_equal(after[: place + 1], before[: place + 1])
        sees_something |= not np.array_equal(after, before)
    assert sees_something


# === Serialisation ===


@every
def test_config_round_trip(run):
    copy = type(run.model).from_config(run.model.get_config())
    assert configs(copy) == configs(run.model)
    if isinstance(run.model, kv.VAE):
        assert copy.get_config() == run.model.get_config()


@every
def test_saved_and_loaded_model_is_the_same(run, tmp_path):
    run.model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_same(loaded.weights, run.model.weights)
    assert_same(loaded.optimizer.variables, run.model.optimizer.variables)
    assert int(loaded.optimizer.iterations) == updates(run.recipe, epochs=2)
    assert evaluation(loaded, run.recipe) == evaluation(run.model, run.recipe)
    run.model.reset_metrics()
    loaded.reset_metrics()
    np.testing.assert_array_equal(
        loaded.predict(run.recipe.x, verbose=0),
        run.model.predict(run.recipe.x, verbose=0),
    )


@every
def test_a_clone_is_equal_and_apart(run):
    clone = keras.models.clone_model(run.model)
    run.recipe.build(clone)
    assert configs(clone) == configs(run.model)
    shared = {id(v) for v in clone.variables} & {id(v) for v in run.model.variables}
    assert not shared
    clone.set_weights(run.model.get_weights())
    run.model.reset_metrics()
    outputs = (model(run.recipe.x) for model in (clone, run.model))
    for these, others in zip(*map(tf.nest.flatten, outputs), strict=True):
        np.testing.assert_array_equal(these, others)


@every_costly
def test_exported_model_serves_what_predict_gives(run, tmp_path):
    run.model.export(tmp_path / "model", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "model")
    x = run.recipe.x if run.recipe.served is None else run.recipe.served
    served = loaded.serve(**x) if isinstance(x, dict) else loaded.serve(x)
    run.model.reset_metrics()
    predicted = run.recipe.as_served(run.model.predict(run.recipe.x, verbose=0))
    if served.dtype == tf.string:
        np.testing.assert_array_equal(served, predicted)
    else:
        np.testing.assert_allclose(served, predicted, rtol=1e-5, atol=1e-5)
