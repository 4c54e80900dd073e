"""Flags that cannot be followed fail before anything is written; recipes set flags."""

import re

import programs
import pytest

from trainers import _recipes
from trainers import _settings

RECIPES = sorted(path.stem for path in _recipes.RECIPES.glob("[!_]*.py"))


# Flags, with {files} for that directory, and what the error says.
IMPOSSIBLE = [
    # What each flag takes.
    ("--epochs=0", "epochs"),
    ("--dataset=ptb", "holds sentences: train on .* trainers.sentence --dataset=ptb"),
    (
        "--dataset=mine.txt",
        "trainers.sentence --dataset=mine.txt.*; a table of numbers has to end in .csv",
    ),
    ("--epochs=three", "epochs"),
    ("--batch_size=-1", "batch_size"),
    ("--learning_rate=-0.1", "learning_rate"),
    ("--learning_rate=nan", "learning_rate=nan: it must be a finite number"),
    ("--kl_weight=inf", "kl_weight=inf: it must be a finite number"),
    ("--seed=2147483648", "seed"),
    ("--image_size=64", "`--image_size` must be two positive integers"),
    ("--kl_weight=-1", "kl_weight"),
    ("--validation_fraction=1", "validation_fraction"),
    ("--network=transformer", "network.*mlp"),
    ("--optimiser=adam", "optimiser"),
    ("--hidden=20,x", "`--hidden` must be positive integers.*20,x"),
    ("--hidden=20,0", "`--hidden` must be positive integers"),
    ("--activation=rleu", "`--activation`=rleu"),
    ("--warmup=half", "`--warmup`=half: .*50%"),
    ("--warmup=120%", "`--warmup`=120%"),
    # What goes together.
    (
        "--epochs=1 --batch_size=9999 --schedule=sigmoid",
        "must end.*sigmoid, 1 steps",
    ),
    ("--schedule=none --warmup=10%", "`--warmup` must be left out.*none"),
    ("--schedule=exponential --kl_weight=0", "`--kl_weight`=0"),
    ("--network=linear --hidden=20", "`--hidden` must be left out.*linear"),
    ("--network=linear --activation=tanh", "`--activation` must be left out"),
    ("--network=mlp --filters=4", "`--filters` must be left out.*--network=conv"),
    ("--num_components=5", "`--num_components` must be left out.*vamp_prior"),
    ("--num_classes=5", "`--num_classes` must be left out.*categorical"),
    ("--likelihood=categorical", "`--num_classes` must be given"),
    ("--likelihood=normal --binarize=static", "`--binarize` must be none.*density"),
    ("--prior=vamp_prior --kl=analytic", "`--kl` must be monte_carlo"),
    ("--posterior=planar --kl=analytic", "`--kl` must be monte_carlo with --posterior"),
    ("--prior=flow --num_components=3", "`--num_components` must be left out.*flow"),
    ("--name=a", "`--name` must be left out where `--run_dir`"),
    ("--key=x", "`--dataset`=digits: `key` must be left out.*npz"),
    ("--drop_columns=a", "`drop_columns` must be left out.*csv"),
    ("--levels=4,2", "`--levels` must be left out with --model=vae.*--model=ladder"),
    ("--batch_normalization", "`--batch_normalization` must be left out"),
    ("--layers=2", "`--layers` must be left out with --model=vae.*--model=ladder"),
    (
        "--model=ladder --network=resnet --layers=2",
        "`--layers` must be left out with --network=resnet",
    ),
    ("--model=ladder --levels=4,2 --hidden=9", "`--hidden` must have one number for"),
    (
        "--model=ladder --levels=4,2 --latent_dim=10",
        "`--latent_dim` must be left out with --model=ladder.*units are those of",
    ),
    ("--model=ladder --levels=4,0", "`--levels` must be positive integers"),
    (
        "--model=top_down --levels=4 --posterior=planar",
        "`--posterior` must be left out with --model=top_down",
    ),
    ("--model=ladder --levels=4 --network=conv", "`--network` must be left out"),
    ("--model=bottom_up --levels=4 --network=resnet", "`--network` must be left out"),
    ("--model=ladder --network=resnet --hidden=4", "`--hidden` must be left out with"),
    (
        "--model=ladder --network=resnet --batch_normalization",
        "`--batch_normalization` must be left out with --network=resnet",
    ),
    (
        "--model=top_down --network=resnet --levels=4,4,4 --filters=4,6",
        "`--filters.*`levels` must have as many entries",
    ),
    (
        "--free_bits=1 --objective=importance_weighted",
        "`--free_bits` must be 0 with --objective=importance_weighted",
    ),
    ("--free_bits_until=9", "`--free_bits_until` must be left out without"),
    ("--free_bits=1 --free_bits_until=9x", "`--free_bits_until`"),
    ("--free_bits=1 --prior=flow", "`--free_bits` must be 0 with --kl=monte_carlo"),
    ("--model=ladder --levels=4 --linear_path=data", "`--linear_path` must be left"),
    ("--model=bottom_up --levels=4 --prior=vamp_prior", "`--prior` must not encode"),
    # What the data allow.
    ("--dataset=digit", "`--dataset`=digit: .*'digits'"),
    ("--dataset={files}/absent.npz", "`--dataset`=.*absent.npz: .*existing file"),
    ("--dataset=mnist --data_dir={files}", "`--dataset`=mnist: .*train-images"),
    ("--dataset={files}/nan.npy", "`--dataset`=.*finite"),
    ("--dataset={files}/one.npy", "`--dataset`=.*two examples or more"),
    ("--dataset={files}/unlike.npz", r"examples of one shape.*\(4,\), test \(3,\)"),
    ("--dataset={files}/text.csv", "'b' holds text, 'red' in row 3.*--drop_columns=b"),
    ("--dataset={files}/text.csv --drop_columns=c", "`drop_columns` must be names"),
    ("--dataset={files}/unlike.npz --key=x", "`key` must name .*Received: key='x'"),
    ("--dataset={files}/zeros.npz --max_bytes=9", "`max_bytes` must be at least 20000"),
    ("--dataset={files}/table.npy --likelihood=bernoulli", r"`--likelihood`.*\[0, 1\]"),
    ("--dataset={files}/bytes.npy --likelihood=bernoulli", "divide pixels .* by 255"),
    ("--dataset={files}/bytes.npy --binarize=dynamic", "`--binarize`=dynamic: "),
    ("--dataset={files}/table.npy --network=conv", r"`--network` must be mlp.*\(4,\)"),
    (
        "--dataset={files}/bytes.npy --likelihood=categorical --num_classes=100",
        "`--likelihood`=categorical .*class ids",
    ),
    (
        "--dataset={files}/table.npy --prior=vamp_prior --num_components=99",
        "`--num_components` must be at most .* 41",
    ),
    ("--dataset={files}/table.npy --validation_fraction=0.001", "both sides"),
    ("--network=conv --filters=4,4,4,4,4", "`--filters`=.*single pixel"),
    # What the run allows.
    ("--epochs=2 --warmup=500", "`--warmup` must end .* --epochs to 39.*500 steps"),
    ("--epochs=2 --warmup=3epochs", "raise --epochs to 4"),
    ("--schedule=linear --warmup=100%", "`--warmup` must end before .*shorten it\\."),
    ("--steps_per_execution=14", "at most the 13 steps"),
]


@pytest.mark.parametrize(("args", "message"), IMPOSSIBLE)
def test_impossible_flags_fail_before_the_run_directory_exists(
    args, message, files, tmp_path
):
    args = args.format(files=files).split()
    programs.TRAIN.check_refuses(tmp_path / "run", message, *args)


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "..", "."])
def test_names_stay_within_the_directory_of_runs(name):
    with pytest.raises(_settings.FlagError, match="`--name` must be .* within runs/"):
        programs.TRAIN.parse(f"--name={name}")
    assert programs.TRAIN.parse("--name=a/b").run.run_dir == "runs/a/b"
    assert programs.TRAIN.parse("--dataset=../data/..").run.name not in ("..", ".")


# === Recipes ===


def write_recipe(directory, text):
    path = directory / "mine.py"
    path.write_text(text)
    return f"--config={path}"


def test_recipe_sets_flags_and_the_command_line_overrides_it(tmp_path):
    config = write_recipe(
        tmp_path, "FLAGS = {'hidden': [7, 5], 'learning_rate': 0.5, 'epochs': 9}"
    )
    settings = programs.TRAIN.parse(config, "--epochs=100")
    assert (settings.model.hidden, settings.fit.learning_rate) == ((7, 5), 0.5)
    # Also where the command line repeats the flag's own default.
    assert settings.fit.epochs == 100
    assert settings.run.run_dir == "runs/mine"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FLAGS = {'latent_dims': 3}", "known flags.*'latent_dims'.*'latent_dim'"),
        ("FLAGS = {'resume': True}", "known flags"),
        ("FLAGS = {'epochs': 0}", "`--epochs` has an illegal value.*0"),
        ("FLAGS = {'network': 'vit'}", "`--network` has an illegal value.*'vit'"),
        ("FLAGS = ['epochs']", "a dict FLAGS"),
        ("flags = {}", "a dict FLAGS.*None"),
        ("FLAGS = {", "a Python file that runs.*SyntaxError"),
    ],
)
def test_broken_recipes_are_errors(text, message, tmp_path):
    with pytest.raises(_settings.FlagError, match=message):
        programs.TRAIN.parse(write_recipe(tmp_path, text))


def test_unknown_recipe_names_those_there_are():
    with pytest.raises(_settings.FlagError, match=re.escape(repr(RECIPES))):
        programs.TRAIN.parse("--config=imagenet")


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_of_the_project_can_be_followed(name):
    settings = programs.TRAIN.parse(f"--config={name}")
    assert settings.run.run_dir == f"runs/{name}"
