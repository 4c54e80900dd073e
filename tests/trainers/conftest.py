import numpy as np
import pytest

# Else its assertions would not say what they compare.
pytest.register_assert_rewrite("programs")


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Data sets that do not suit every flag."""
    directory = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    np.save(directory / "table.npy", generator.normal(size=(50, 4)))
    np.save(directory / "bytes.npy", np.tile(np.arange(4) * 60, (50, 1)))
    np.save(directory / "nan.npy", np.full((50, 4), np.nan))
    np.save(directory / "constant.npy", np.full((50, 4), 7.0))
    np.save(directory / "one.npy", np.ones((1, 4)))
    np.save(directory / "maps.npy", generator.uniform(size=(50, 8, 6)))
    np.savez(directory / "unlike.npz", train=np.eye(4), test=np.eye(3))
    np.savez_compressed(directory / "zeros.npz", x=np.zeros((50, 100), "uint8"))
    (directory / "text.csv").write_text("a,b\n1,2\n3,red\n")
    return directory
