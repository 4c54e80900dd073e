"""Data sets as arrays for `fit`: float32, in [0, 1], with a channel axis; or strings.

Files are read from `data_dir`, or from the directory in the environment variable
`KERAS_VAE_DATA`, and never written:

    <data_dir>/mnist/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz
    <data_dir>/fashion_mnist/          the same four names
    <data_dir>/binarized_mnist/binarized_mnist_uint8.npz
    <data_dir>/ptb/ptb.{train,valid,test}.txt
    <data_dir>/dsprites/dsprites_subset.npz
    <data_dir>/dsprites/dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz

Nothing is ever unpickled.
"""

from keras_vae.datasets.binarization import binarize
from keras_vae.datasets.binarization import dynamic_binarization
from keras_vae.datasets.grammars import grammar
from keras_vae.datasets.images import image_folder
from keras_vae.datasets.loading import load
from keras_vae.datasets.named import binarized_mnist
from keras_vae.datasets.named import digits
from keras_vae.datasets.named import dsprites
from keras_vae.datasets.named import fashion_mnist
from keras_vae.datasets.named import mnist
from keras_vae.datasets.named import ptb
from keras_vae.datasets.numpy_files import arrays
from keras_vae.datasets.splits import Dataset
from keras_vae.datasets.tables import table
from keras_vae.datasets.text import count_words
from keras_vae.datasets.text import sentences
from keras_vae.datasets.vocabulary import Vocabulary

__all__ = [
    "Dataset",
    "Vocabulary",
    "arrays",
    "binarize",
    "binarized_mnist",
    "count_words",
    "digits",
    "dsprites",
    "dynamic_binarization",
    "fashion_mnist",
    "grammar",
    "image_folder",
    "load",
    "mnist",
    "ptb",
    "sentences",
    "table",
]
