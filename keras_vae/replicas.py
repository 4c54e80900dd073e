"""Communication between the replicas of a `tf.distribute` strategy."""

import collections
import itertools
import weakref

import tensorflow as tf

_group_keys = itertools.count(0x6B7661)
_groups = weakref.WeakKeyDictionary()


class _Group:
    """Keys of one strategy's collectives; all replicas trace them in the same order."""

    def __init__(self):
        self.key = next(_group_keys)
        self._counts = collections.Counter()

    def next_instance_key(self, replica):
        self._counts[replica] += 1
        return self._counts[replica]


def replica_id():
    """Returns the number of the running replica, an integer or int32 scalar."""
    context = tf.distribute.get_replica_context()
    return 0 if context is None else context.replica_id_in_sync_group


def num_replicas():
    """Returns the number of replicas that run the same step, an integer."""
    if tf.distribute.get_replica_context() is None:
        return 1
    return tf.distribute.get_strategy().num_replicas_in_sync


def sum_over_replicas(value):
    """Sums a tensor over all replicas; with one replica it is the identity.

    Args:
        value: Float32 tensor of the same shape on each replica.

    Returns:
        Tensor of the same shape, equal on all replicas. Gradients are summed likewise.

    Raises:
        RuntimeError: On several replicas outside a `tf.function`.

    Example:
    >>> float(kv.replicas.sum_over_replicas(tf.constant(2.0)))
    2.0
    """
    if num_replicas() == 1:
        return value

    @tf.custom_gradient
    def differentiable_sum(value):
        return _all_reduce(value), _all_reduce

    return differentiable_sum(value)


def assign(variable, value):
    """Assigns to a variable without waiting for the other replicas.

    On several replicas `Variable.assign` switches to the next replica's thread in the
    middle of a step. Keras keeps the added losses of all threads in one list, so such a
    switch would mix them.

    Args:
        variable: `keras.Variable` that is not trained.
        value: Tensor of its shape, equal on all replicas.
    """
    if num_replicas() == 1:
        variable.assign(value)
        return
    strategy = tf.distribute.get_strategy()
    copies = strategy.experimental_local_results(variable.value)
    copy = copies[min(_static_replica_id(), len(copies) - 1)]
    copy.assign(tf.cast(value, copy.dtype))


def update_if(condition, update, gradients, variables):
    """Lets an optimizer update variables if a condition holds.

    Args:
        condition: Boolean scalar tensor, equal on all replicas.
        update: Callable, gradients, variables -> None, for example `apply` of a built
            optimizer.
        gradients: List of tensors, this replica's share.
        variables: List of `keras.Variable`.

    Example:
    >>> variable, sgd = keras.Variable(1.0), keras.optimizers.SGD(0.25)
    >>> sgd.build([variable])
    >>> for condition in (False, True):
    ...     gradients = [tf.constant(1.0)]
    ...     kv.replicas.update_if(condition, sgd.apply, gradients, [variable])
    >>> float(variable), int(sgd.iterations)
    (0.75, 1)
    """

    def choose(condition, run):
        def taken():
            run()
            return True

        tf.cond(tf.convert_to_tensor(condition), taken, lambda: False)

    # An update waits for the other replicas, so it cannot run in one replica's branch.
    def across_replicas(strategy, condition, gradients):
        call, arguments = (
            strategy.extended.call_for_each_replica,
            (gradients, variables),
        )
        condition = strategy.experimental_local_results(condition)[0]
        choose(condition, lambda: call(update, args=arguments))

    if num_replicas() == 1:
        choose(condition, lambda: update(gradients, variables))
    else:
        context = tf.distribute.get_replica_context()
        context.merge_call(across_replicas, args=(condition, gradients))


def number(variable):
    """Returns the value of a scalar variable, which may have several copies."""
    return tf.convert_to_tensor(variable).numpy().item()


def own_losses(losses):
    """Returns the added losses that the running replica made.

    Args:
        losses: List of scalar tensors.
    """
    if num_replicas() == 1:
        return losses
    # A layer that assigns variables in `call` (batch normalization, dropout) lets the
    # losses of another replica into Keras's list.
    device = tf.zeros(()).device
    return [loss for loss in losses if loss.device in ("", device)]


def _static_replica_id():
    return int(tf.get_static_value(replica_id()))


def _all_reduce(value):
    strategy = tf.distribute.get_strategy()
    if not isinstance(strategy, tf.distribute.MirroredStrategy):
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.SUM, value)
    # `ReplicaContext.all_reduce` would switch to the next replica's thread in the
    # middle of a step, see `assign`.
    if tf.executing_eagerly():
        raise RuntimeError(
            "On several replicas a step must run in a `tf.function`; eagerly it would "
            "wait for itself. Compile with `run_eagerly=False`."
        )
    group = _groups.setdefault(strategy, _Group())
    return tf.raw_ops.CollectiveReduce(
        input=value,
        group_size=num_replicas(),
        group_key=group.key,
        instance_key=group.next_instance_key(_static_replica_id()),
        merge_op="Add",
        final_op="Id",
        subdiv_offsets=[0],
    )
