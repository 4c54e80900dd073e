"""How much memory the numbers of a small file may take."""

from keras_vae.arguments import is_integer

MAX_BYTES = 2**32


def check_size(number, what, max_bytes, remedy=""):
    """Checks that the numbers of a compressed file are not more than is allowed.

    Args:
        number: Integer, how many a file holds or claims to hold.
        what: String, what has them.
        max_bytes: Integer, the most bytes that they may take as float32.
        remedy: String, what else would help.

    Raises:
        ValueError: If they take more, or `max_bytes` is no positive integer.
    """
    if not is_integer(max_bytes) or max_bytes < 1:
        raise ValueError(
            f"`max_bytes` must be a positive integer. Received: max_bytes={max_bytes!r}"
        )
    if 4 * number > max_bytes:
        raise ValueError(
            f"`max_bytes` must be at least {4 * number} to read {what}, as float32 "
            f"{4 * number / 2**30:.3g} GiB. Received: max_bytes={max_bytes}, "
            f"{max_bytes / 2**30:.3g} GiB. Raise it if the memory is there{remedy}."
        )
