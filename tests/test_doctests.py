"""Runs the examples of all docstrings."""

import doctest
import importlib
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv

ROOT = pathlib.Path(kv.__file__).parent
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def _module_name(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


@pytest.mark.parametrize("name", sorted(map(_module_name, ROOT.rglob("*.py"))))
def test_examples_give_what_they_show(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    names = {"keras": keras, "kv": kv, "np": np, "tf": tf}
    failures = []
    runner = doctest.DocTestRunner(optionflags=OPTIONS, verbose=False)
    for example in doctest.DocTestFinder().find(module, name, extraglobs=names):
        runner.run(example, out=failures.append)
    assert not failures, "".join(failures)
