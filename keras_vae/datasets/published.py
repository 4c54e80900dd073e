"""Files of published data sets: their paths and checksums."""

import hashlib
import os
import pathlib

VARIABLE = "KERAS_VAE_DATA"

# The published MD5 of each file. Two archives and the Penn Treebank have none; theirs
# is from the copies on which the project's results were measured.
_MD5 = {
    "mnist/train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "mnist/train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "mnist/t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "mnist/t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    "fashion_mnist/train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "fashion_mnist/train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "fashion_mnist/t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "fashion_mnist/t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    "binarized_mnist/binarized_mnist_uint8.npz": "95e21dd54a2e283bd1d9987b3b72152a",
    "ptb/ptb.test.txt": "8b80168b89c18661a38ef683c0dc3721",
    "ptb/ptb.train.txt": "f26c4b92c5fdc7b3f8c7cdcb991d8420",
    "ptb/ptb.valid.txt": "aa0affc06ff7c36e977d7cd49e3839bf",
    "dsprites/dsprites_subset.npz": "bbc77fb34afc89a384056b53f474ccdd",
    "dsprites/dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz": (
        "7da33b31b13a06f4b04a70402ce90c2e"
    ),
}


def directory(data_dir):
    """Returns the directory of the files, or None if it is not set."""
    return data_dir or os.environ.get(VARIABLE)


def find(file, data_dir):
    """Returns the checked path of a known file."""
    if not (root := directory(data_dir)):
        raise FileNotFoundError(
            f"`data_dir` must name the directory that holds {file}. Received: "
            f"data_dir={data_dir!r}, and {VARIABLE} is not set. Place the file as "
            f"<data_dir>/{file} and pass <data_dir>."
        )
    path = pathlib.Path(root, file)
    if not path.is_file():
        raise FileNotFoundError(
            f"`data_dir` must hold {file}. Received: data_dir={str(root)!r}, "
            "and the file is not there. Place it there."
        )
    with open(path, "rb") as stream:
        digest = _md5(stream)
    if digest != _MD5[file]:
        raise ValueError(
            f"`data_dir` must hold {file} as published, with MD5 {_MD5[file]}. "
            f"Received: {path} with MD5 {digest}. Replace the file: it is damaged or "
            "another version."
        )
    return path


def _md5(stream):
    digest = hashlib.md5(usedforsecurity=False)
    while block := stream.read(2**20):
        digest.update(block)
    return digest.hexdigest()
