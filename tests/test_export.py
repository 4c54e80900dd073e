import os
import pathlib
import subprocess
import sys

import keras
import matrix
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv

SHAPE = (4, 4, 1)
LATENT_DIM = 3
ENDPOINTS = {
    "serve",
    "encode",
    "sample_posterior",
    "decode",
    "generate",
    "generate_with_noise",
    "negative_elbo",
}

CASES = {
    "bernoulli": {},
    "learned_normal": {
        "prior": "learned_normal",
        "posterior": "full_covariance_normal",
        "likelihood": kv.distributions.Normal("optimal"),
        "trained": True,
    },
    "gaussian_mixture": {
        "prior": "gaussian_mixture",
        "likelihood": kv.distributions.Normal("shared"),
    },
    "vamp_prior": {
        "prior": kv.priors.VampPrior(5),
        "posterior": "full_covariance_normal",
        "likelihood": kv.distributions.Laplace("per_output"),
    },
    "importance_weighted": {
        "objective": kv.ImportanceWeighted(5),
        "likelihood": "continuous_bernoulli",
        "trained": True,
    },
    "categorical": {"likelihood": kv.distributions.Categorical(3)},
    "mixed_float16": {
        "policy": "mixed_float16",
        "prior": "vamp_prior",
        "trained": True,
    },
    "mixed_bfloat16": {"policy": "mixed_bfloat16", "prior": "learned_normal"},
}

# Evaluates models where nothing but TensorFlow can be imported.
SERVE = """
import importlib.util
import sys

HIDDEN = {"keras", "keras_vae", "tensorflow_probability", "tf_keras"}

class TensorFlowAlone:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in HIDDEN:
            return importlib.util.spec_from_loader(name, self)

    def create_module(self, spec):
        raise ImportError(spec.name)

    def exec_module(self, module):
        pass

sys.meta_path.insert(0, TensorFlowAlone())

import numpy as np
import tensorflow as tf

tf.config.experimental.enable_tensor_float_32_execution(False)
for directory in sys.argv[1:]:
    loaded = tf.saved_model.load(directory + "/model")
    inputs = np.load(directory + "/inputs.npz")
    outputs = {}
    for batch in (1, 7):
        x, z = inputs["x"][:batch], inputs["z"][:batch]
        for name, arguments in {
            "serve": {"x": x},
            "encode": {"x": x},
            "sample_posterior": {"x": x, "seed": 3},
            "decode": {"z": z},
            "generate": {"n": batch, "seed": 3},
            "generate_with_noise": {"n": batch, "seed": 3},
            "negative_elbo": {"x": x, "seed": 3},
        }.items():
            result = getattr(loaded, name)(**arguments)
            constants = {
                key: tf.constant(value, "int64" if key in ("n", "seed") else None)
                for key, value in arguments.items()
            }
            signed = loaded.signatures[name](**constants)
            if not isinstance(result, dict):
                result = {"output_0": result}
            for key in result:
                np.testing.assert_array_equal(result[key], signed[key])
                outputs[f"{name} {key} {batch}"] = result[key]
    default = loaded.signatures["serving_default"](x=tf.constant(x))["output_0"]
    np.testing.assert_array_equal(default, outputs["serve output_0 7"])
    np.savez(directory + "/outputs.npz", **outputs)
assert not HIDDEN & set(sys.modules)
"""


def _vae(policy="float32", trained=False, likelihood="bernoulli", **kwargs):
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(policy)
    likelihood = kv.distributions.likelihoods.get(likelihood)
    kwargs.setdefault("objective", kv.ELBO(kl="monte_carlo"))
    vae = kv.VAE(
        encoder=kv.networks.mlp_encoder([8]),
        decoder=kv.networks.mlp_decoder([8], likelihood.params_shape(SHAPE)),
        latent_dim=LATENT_DIM,
        likelihood=likelihood,
        seed=0,
        **kwargs,
    )
    if trained:
        vae.compile(keras.optimizers.Adam(0.01))
        vae.fit(_data(40), epochs=2, verbose=0)
    else:
        vae.build((None, *SHAPE))
    keras.config.set_dtype_policy("float32")
    return vae


def _data(n):
    return np.random.default_rng(0).integers(0, 2, (n, *SHAPE)).astype("float32")


def _latents(n):
    return np.random.default_rng(1).normal(size=(n, LATENT_DIM)).astype("float32")


def _own_outputs(vae, batch):
    x, z = _data(7)[:batch], _latents(7)[:batch]
    mean, stddev = vae.encode(x)
    outputs = {
        "serve output_0": vae.reconstruct(x),
        "encode mean": mean,
        "encode stddev": stddev,
        "sample_posterior output_0": vae.sample_posterior(x, seed=3),
        "decode output_0": vae.decode(z),
        "generate output_0": vae.generate(batch, seed=3),
        "generate_with_noise output_0": vae.generate(batch, seed=3, noise=True),
        "negative_elbo output_0": -vae.elbo(x, seed=3),
    }
    return {f"{name} {batch}": value.numpy() for name, value in outputs.items()}


def _load(vae, directory):
    vae.export(directory, verbose=False)
    return tf.saved_model.load(directory)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Outputs of the models of all cases, own and as served by TensorFlow alone."""
    root = tmp_path_factory.mktemp("served")
    own = {}
    for name, case in CASES.items():
        vae = _vae(**case)
        vae.export(root / name / "model", verbose=False)
        np.savez(root / name / "inputs.npz", x=_data(7), z=_latents(7))
        own[name] = {**_own_outputs(vae, 1), **_own_outputs(vae, 7)}
    directories = [str(root / name) for name in CASES]
    subprocess.run([sys.executable, "-c", SERVE, *directories], check=True)
    return {name: (own[name], np.load(root / name / "outputs.npz")) for name in CASES}


@pytest.mark.parametrize("name", matrix.first(2, CASES))
def test_served_outputs_equal_the_models(served, name):
    own, outputs = served[name]
    assert set(outputs) == set(own)
    # Half precision rounds to a thousandth, in another order in another process.
    limit = 1e-3 if "float16" in name else 1e-5
    for key in own:
        assert outputs[key].dtype == np.float32, key
        np.testing.assert_allclose(
            outputs[key], own[key], rtol=limit, atol=limit, err_msg=key
        )


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", ["serving_default", *sorted(ENDPOINTS)])
def test_saved_model_cli_runs_each_endpoint(tmp_path, endpoint):
    vae = _vae()
    vae.export(tmp_path / "model", verbose=False)
    x, z = _data(2), _latents(2)
    inputs = {
        "generate": "n=2;seed=3",
        "generate_with_noise": "n=2;seed=3",
        "decode": f"z={z.tolist()}",
        "sample_posterior": f"x={x.tolist()};seed=3",
        "negative_elbo": f"x={x.tolist()};seed=3",
    }.get(endpoint, f"x={x.tolist()}")
    cli = pathlib.Path(sys.executable).with_name("saved_model_cli")
    command = [cli, "run", "--dir", tmp_path / "model", "--tag_set", "serve"]
    command += ["--signature_def", endpoint, "--input_exprs", inputs]
    subprocess.run([*command, "--outdir", tmp_path], check=True)
    expected = {
        "serving_default": {"output_0": vae.reconstruct(x)},
        "serve": {"output_0": vae.reconstruct(x)},
        "encode": dict(zip(("mean", "stddev"), vae.encode(x), strict=True)),
        "sample_posterior": {"output_0": vae.sample_posterior(x, seed=3)},
        "decode": {"output_0": vae.decode(z)},
        "generate": {"output_0": vae.generate(2, seed=3)},
        "generate_with_noise": {"output_0": vae.generate(2, seed=3, noise=True)},
        "negative_elbo": {"output_0": -vae.elbo(x, seed=3)},
    }[endpoint]
    for key, value in expected.items():
        output = np.load(tmp_path / f"{key}.npy")
        np.testing.assert_allclose(output, value, rtol=1e-5, atol=1e-5)


def test_draws_follow_the_seed(tmp_path):
    loaded = _load(_vae(), tmp_path)
    x = _data(5)
    for draw in (
        lambda seed: loaded.generate(5, seed),
        lambda seed: loaded.generate_with_noise(5, seed),
        lambda seed: loaded.sample_posterior(x, seed),
        lambda seed: loaded.negative_elbo(x, seed),
    ):
        first = draw(7).numpy()
        np.testing.assert_array_equal(draw(7), first)
        for seed in (0, 8, 2**31 - 1, 2**40):
            assert np.abs(draw(seed) - first).max(axis=None) > 1e-3


def test_statistics_of_draws(tmp_path):
    identity = keras.layers.Dense(LATENT_DIM, kernel_initializer="identity")
    vae = kv.VAE(
        encoder=kv.networks.mlp_encoder([8]),
        decoder=keras.Sequential([identity]),
        latent_dim=LATENT_DIM,
        likelihood=kv.distributions.Normal(),
        seed=0,
    )
    vae.build((None, LATENT_DIM))
    loaded = _load(vae, tmp_path)
    n = 20_000
    x = np.repeat(_latents(1), n, axis=0)
    z = loaded.sample_posterior(x, 1)
    mean, stddev = (value[0].numpy() for value in vae.encode(x[:1]))
    draws = [loaded.generate(n, 1), loaded.generate(n, 2), (z - mean) / stddev]
    for draw in draws:
        draw = np.asarray(draw)
        assert draw.shape == (n, LATENT_DIM)
        # Five standard errors of each estimate.
        np.testing.assert_allclose(draw.mean(axis=0), 0.0, atol=5 / n**0.5)
        np.testing.assert_allclose(draw.var(axis=0), 1.0, atol=5 * (2 / n) ** 0.5)
    correlation = np.corrcoef(np.concatenate(draws[:2], axis=1), rowvar=False)
    np.testing.assert_allclose(correlation, np.eye(2 * LATENT_DIM), atol=5 / n**0.5)


def test_no_endpoint_keeps_state(tmp_path):
    # The inner layer counts batches and the regulariser adds a loss at each call.
    x = keras.Input(SHAPE)
    features = keras.layers.Flatten()(x)
    features = keras.layers.Dense(4, activity_regularizer="l2")(features)
    features = kv.layers.Latent(4, seed=1)(features)
    vae = kv.VAE(
        encoder=keras.Model(x, features),
        decoder=kv.networks.mlp_decoder([8], SHAPE),
        latent_dim=LATENT_DIM,
        seed=0,
    )
    vae.compile()
    vae.fit(_data(8), verbose=0)
    loaded = _load(vae, tmp_path)
    before = [v.numpy() for v in loaded.serve.concrete_functions[0].variables]
    first = loaded.serve(_data(5)).numpy()
    np.testing.assert_array_equal(loaded.serve(_data(5)), first)
    after = [v.numpy() for v in loaded.serve.concrete_functions[0].variables]
    np.testing.assert_equal(after, before)
    vae.fit(_data(8), verbose=0)


def test_export_does_not_change_training(tmp_path):
    weights = []
    for exported in (True, False):
        vae = _vae(trained=True)
        if exported:
            before, step = [v.numpy() for v in vae.variables], vae.train_function
            vae.export(tmp_path, verbose=False)
            np.testing.assert_equal([v.numpy() for v in vae.variables], before)
            assert vae.train_function is step
        vae.fit(_data(40), shuffle=False, verbose=0)
        weights.append([v.numpy() for v in vae.variables])
    np.testing.assert_equal(*weights)


@pytest.mark.parametrize("kind", [dict, list])
def test_several_inputs(tmp_path, kind):
    def both(a, b):
        return {"a": a, "b": b} if kind is dict else [a, b]

    inputs = keras.Input((2,), name="a"), keras.Input((3,), name="b")
    features = keras.layers.Dense(4)(keras.layers.Concatenate()(inputs))
    vae = kv.VAE(
        encoder=keras.Model(both(*inputs), features),
        decoder=kv.networks.mlp_decoder([8], (3,)),
        latent_dim=LATENT_DIM,
        likelihood="normal",
        seed=0,
    )
    vae.build(both((None, 2), (None, 3)))
    vae.save(tmp_path / "vae.keras")
    vae = keras.saving.load_model(tmp_path / "vae.keras")
    loaded = _load(vae, tmp_path / "model")
    y = _latents(5)
    x = both(y[:, :2], y)
    np.testing.assert_allclose(loaded.serve(x), vae.reconstruct(x), atol=1e-5)
    np.testing.assert_allclose(
        loaded.negative_elbo(x, y, 3), -vae.elbo(x, y, seed=3), rtol=1e-5
    )
    names = ("a", "b") if kind is dict else ("x", "x_1")
    signature = loaded.signatures["negative_elbo"].structured_input_signature[1]
    assert set(signature) == {*names, "y", "seed"}


def test_all_endpoints_are_named(tmp_path, capsys):
    vae = _vae()
    vae.export(tmp_path / "new" / "model")
    said = capsys.readouterr().out
    assert all(name in said for name in ENDPOINTS | {str(tmp_path / "new" / "model")})
    loaded = tf.saved_model.load(tmp_path / "new" / "model")
    assert set(loaded.signatures) == ENDPOINTS | {"serving_default"}
    vae.export(str(tmp_path / "quiet"), format="tf_saved_model", verbose=False)
    assert not capsys.readouterr().out


def test_an_older_model_is_replaced(tmp_path):
    path, link = tmp_path / "model", tmp_path / "link"
    vae = _vae()
    vae.export(path, verbose=False)
    link.symlink_to(path)
    vae.decoder.trainable_variables[-1].assign_add(tf.ones([np.prod(SHAPE)]))
    loaded = _load(vae, link)
    np.testing.assert_allclose(
        loaded.serve(_data(2)), vae.reconstruct(_data(2)), atol=1e-6
    )
    assert link.is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["link", "model"]


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("failing", matrix.first(1, ["write", "rename"]))
def test_a_crash_leaves_what_was_there(tmp_path, monkeypatch, exists, failing):
    path = tmp_path / "model"
    vae = _vae()
    if exists:
        vae.export(path, verbose=False)
        expected = (path / "saved_model.pb").read_bytes()

    def write(trackable, filepath, *args, **kwargs):
        (pathlib.Path(filepath) / "variables").mkdir(parents=True)
        raise OSError("No space left on device")

    def rename(source, target, rename=os.rename):
        if os.path.basename(source) == "new":
            raise OSError("No space left on device")
        rename(source, target)

    if failing == "write":
        monkeypatch.setattr(tf.saved_model, "save", write)
    else:
        monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(OSError, match="No space left"):
        vae.export(path, verbose=False)
    assert os.listdir(tmp_path) == (["model"] if exists else [])
    if exists:
        assert (path / "saved_model.pb").read_bytes() == expected


def test_other_file_systems():
    vae = _vae()
    loaded = _load(vae, "ram://models/vae")
    np.testing.assert_allclose(loaded.generate(2, 3), vae.generate(2, 3), atol=1e-6)


def test_what_is_no_saved_model_is_not_replaced(tmp_path):
    vae = _vae()
    (tmp_path / "runs").mkdir()
    for mine in (tmp_path / "thesis.tex", tmp_path / "runs" / "history.csv"):
        mine.write_text("work")
        path = mine if mine.parent == tmp_path else mine.parent
        with pytest.raises(ValueError, match="`filepath` must not exist"):
            vae.export(path)
        assert mine.read_text() == "work"


def test_model_must_be_built(tmp_path):
    vae = kv.VAE(
        encoder=kv.networks.mlp_encoder([8]),
        decoder=kv.networks.mlp_decoder([8], SHAPE),
        latent_dim=LATENT_DIM,
    )
    with pytest.raises(ValueError, match="`model` must be built before `export`"):
        vae.export(tmp_path / "model")
    assert not os.listdir(tmp_path)


def test_other_formats_are_refused(tmp_path):
    with pytest.raises(ValueError, match="`format` must be 'tf_saved_model'"):
        _vae().export(tmp_path / "model", format="onnx")
    assert not os.listdir(tmp_path)
