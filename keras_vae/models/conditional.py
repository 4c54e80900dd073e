"""What the methods of a model do with conditions."""

import tensorflow as tf

from keras_vae import checks
from keras_vae import conditions


class TakesConditions:
    """Mixin of `VAE` that turns what users pass into what the networks take.

    It uses the model's `conditions`, `encoder`, `decoder` and `latents`.
    """

    def get_build_config(self):
        """Returns the shape of the data; those of conditions are declared."""
        config = super().get_build_config()
        return config and {"input_shape": self.conditions.main(config["input_shape"])}

    def _check_conditions(self):
        parts, plain = self.stacks, self._plain_networks
        parts = {name: [plain[name], *stack[1:]] for name, stack in parts.items()}
        prior = [self.latents[-1].prior]
        checks.check_declared(self.conditions, **parts, prior=prior)

    def _with_nan(self, values, condition, *inputs):
        """Returns values, NaN for examples with such inputs or conditions."""
        inputs += tuple(condition[n] for n in self.conditions if n in condition)
        return checks.with_nan(values, inputs) if inputs else values

    def takes(self, name, *parts):
        """Whether one of some parts takes a condition.

        Args:
            name: String.
            *parts: Strings, of "encoder", "decoder" and "prior".
        """
        return any(
            conditions.takes(layer, name)
            for part in parts
            for layer in self._takers[part]
        )

    @property
    def stacks(self):
        """Lists of the networks of a part, that next to x first."""
        return {"encoder": [self.encoder], "decoder": [self.decoder]}

    @property
    def _takers(self):
        """Lists of the layers that may take conditions, by the name of their part."""
        return {**self.stacks, "prior": [self.latents[-1].prior]}

    def given(self, inputs):
        """Returns a dict of the conditions, as `condition` of any method.

        Args:
            inputs: What `fit` takes as x.
        """
        return self.conditions.given(inputs)

    def split(self, inputs):
        """Returns the data, and a dict of the conditions as the networks take them.

        Args:
            inputs: What `fit` takes as x.
        """
        return self.conditions.split(inputs)

    def _data_and_conditions(self, x, condition, *parts):
        """Returns x as a tensor, and the conditions as the networks take them.

        Args:
            x: Array or tensor, or a dict of it as "x" and of conditions.
            condition: Dict of further conditions, or None.
            *parts: Strings, the parts that must get what they take, see `takes`.
        """
        x, given = self._given(x, condition)
        x = self._tensor(x)
        return x, self._standard(given, _size(x), *parts)

    def _given(self, x, condition):
        """Returns the data, and a dict of the conditions as a user passes them."""
        given = dict(condition or {})
        if self.conditions and isinstance(x, dict):
            given = {**{n: v for n, v in x.items() if n != conditions.MAIN}, **given}
            if conditions.MAIN not in x:
                raise ValueError(
                    "`x` must be an array, or a dict that holds it as 'x'. Received: a "
                    f"dict of {list(x)}"
                )
            x = x[conditions.MAIN]
        return x, given

    def _standard(self, given, size, *parts):
        """Returns the conditions as the networks take them, a dict of tensors.

        Args:
            given: Dict of names to arrays, or None.
            size: Number of examples: an integer or None, and the same as a tensor.
            *parts: Strings, see `takes`.
        """
        given = given or {}
        if not isinstance(given, dict):
            raise ValueError(
                "`condition` must be a dict of names to values, {'label': ...}. "
                f"Received: condition={given!r}"
            )
        needed = [name for name in self.conditions if self.takes(name, *parts)]
        checks.check_names(self.conditions, given, needed, " or the ".join(parts))
        if tf.executing_eagerly():
            options = {"one_for_all": True, "all_known": True}
            checks.check_conditions(self.conditions, given, size[0], **options)
        encode = self.conditions.encode
        return {name: encode(name, value, size[1]) for name, value in given.items()}


def _size(x):
    """Returns the number of examples: an integer or None, and the same as a tensor."""
    first = tf.nest.flatten(x)[0]
    return first.shape[0], tf.shape(first)[0]
