"""Every private part of Keras that this package uses, and why.

Keras may change what starts with an underscore in any release. Each use stands here,
behind a name of ours, with the reason that no public way does the same.
`tests/test_keras_internals.py` says which of them a new release has changed; a release
that has removed one is reported when this module is imported.
"""

import contextlib
import math
import threading
import weakref

import keras


def _require(owner, *names):
    """Raises if Keras no longer has what a class below overrides.

    Without this, Keras would never call our method, and the results would be wrong
    without any error.
    """
    for name in names:
        if not hasattr(owner, name):
            raise ImportError(
                f"keras_peterrec overrides `{owner.__name__}.{name}`, which Keras "
                f"{keras.__version__} does not have. Install Keras 3.15 or a newer keras_peterrec."
            )


_limiting = threading.RLock()


@contextlib.contextmanager
def limited_variables(saved):
    """Raises ValueError where the block makes many more variables than are saved of a model.

    A few letters in a settings file can ask for a network that no memory holds. So a model is
    built from settings within what its file of weights has, with some room for what is not saved,
    such as random states.

    No public way: a variable has its value before any of our code sees it.

    Args:
        saved: iterable of shapes.
    """
    variable = keras.Variable
    _require(variable, "_initialize_with_initializer")
    room = 100_000 + 2 * sum(map(math.prod, saved))
    make, builder, left = variable._initialize_with_initializer, threading.get_ident(), [room]

    def limited(self, initializer):
        if threading.get_ident() == builder:
            left[0] -= math.prod(self.shape)
            if left[0] < 0:
                raise ValueError(
                    f"the settings ask for more than twice the weights that are saved, "
                    f"{(room - 100_000) // 2:,} numbers"
                )
        make(self, initializer)

    with _limiting:
        variable._initialize_with_initializer = limited
        try:
            yield
        finally:
            variable._initialize_with_initializer = make


class Prebuilt:
    """A base, before keras.Model, of a model that `fit` does not build again.

    Under a `tf.distribute` strategy, `fit` iterates over the data to build the model with
    its first batch, and then starts again. A dataset that is shuffled anew in each
    iteration has another order by then, so a run would train on other batches than the
    same run on one device. With several workers it fails altogether, because the batch
    holds one value per replica (keras#20585). Our models are built when they are made
    and need none of this.

    No public way: `fit` calls `_maybe_symbolic_build` whether or not the model is built.
    """

    if keras.backend.backend() == "tensorflow":
        _require(keras.Model, "_maybe_symbolic_build")

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        pass


def weights_by_path(layer):
    """The weights of a layer by path, the same in every process.

    A path is the names of the layers inside one another and of the weight, such as
    `"block_1/convolution_1/kernel"`. Keras' own depend on where a layer was built.

    No public way: Keras lists the layers of a model, not those inside a layer.

    Raises:
        ValueError: two weights have one path.
    """
    named, count = {}, 0
    _require(keras.Layer, "_flatten_layers")
    for inner in layer._flatten_layers(include_self=False, recursive=False):
        named |= {f"{inner.name}/{path}": weight for path, weight in weights_by_path(inner).items()}
    named_ids = {id(weight) for weight in named.values()}
    for weight in layer.weights:
        count += 1
        if id(weight) not in named_ids:
            named[weight.name] = weight
    if len(named) < count:
        raise ValueError(f"Layers and weights of {layer.name!r} should have different names.")
    return named


class FrozenWeight(keras.Variable):
    """A weight as a model sees it that does not train it, though others may.

    It is the same weight: reading and assigning go to `of`. Only `trainable` is always false.

    Keras says what is trained by a flag of the variable, which all models share that hold it. A
    model around a task model (`keras.Sequential([task])`) asks only for the task's variables and
    their flags, and would train a host that other tasks stand on.

    No public way: Keras makes every variable with a value of its own. This one has none, and what
    Keras keeps in private of a variable is found in `of`.

    Args:
        of: keras.Variable.
    """

    _require(keras.Variable, "value", "assign", "trainable")

    def __init__(self, of):
        self.of = of

    def __getattr__(self, name):
        if name == "of":  # not made yet, as in `copy.copy`
            raise AttributeError(name)
        return getattr(self.of, name)

    @property
    def trainable(self):
        return False

    @trainable.setter
    def trainable(self, value):
        pass

    @property
    def value(self):
        return self.of.value

    def assign(self, value):
        return self.of.assign(value)


_FROZEN = weakref.WeakKeyDictionary()  # {layer: {id of a weight: FrozenWeight}}


def frozen_weights(layer):
    """The weights of a layer as a model sees them that does not train them.

    They are the same objects for all models, and live as long as the layer: a model of several
    tasks then holds its host once.

    Returns:
        dict from the id of a weight to its FrozenWeight.
    """
    frozen = _FROZEN.setdefault(layer, {})
    frozen.update({id(w): FrozenWeight(w) for w in layer.weights if id(w) not in frozen})
    return frozen


def stored_variables(variables):
    """The variables that hold the values, each once: those behind frozen weights."""
    originals = (
        variable.of if isinstance(variable, FrozenWeight) else variable for variable in variables
    )
    return list({id(variable): variable for variable in originals}.values())


class OpenAdam(keras.optimizers.Adam):
    """Keras' Adam with the hooks that an update of single rows needs, under public names.

    `update_step` and `add_optimizer_variables` are public. A gradient of single rows
    also needs:

    - `clip`, which Keras calls before it applies gradients. Its own clipping makes a
      gradient of rows dense, or takes the norm of rows that it has not summed yet.
    - `decay_weights`, which Keras calls before it applies gradients. Its own decay
      writes the whole table.
    - `decays`, to leave out what `exclude_from_weight_decay` names. Keras keeps those
      names in private.
    - `update_all`, which gets all gradients at once; `update_step` gets one after the other.
    - `slots`. Under a strategy `update_step` gets the variable of one device, which only
      Keras can match with the variable that it made the moments for.
    """

    _require(
        keras.optimizers.Adam,
        "_clip_gradients",
        "_apply_weight_decay",
        "_use_weight_decay",
        "_get_variable_index",
        "_backend_update_step",
    )

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.slot_lists = {}

    def add_optimizer_variables(self, trainable_variables, name, initializer="zeros"):
        made = super().add_optimizer_variables(trainable_variables, name, initializer)
        names, lists = ([name], [made]) if isinstance(name, str) else (name, made)
        self.slot_lists.update(dict(zip(names, lists)))
        return made

    def slots(self, variable):
        """The optimizer's variables of a model's variable, `{"momentum": ..., ...}`."""
        index = self._get_variable_index(variable)
        return {name: variables[index] for name, variables in self.slot_lists.items()}

    def decays(self, variable):
        """Whether weight decay applies to a variable."""
        return self.weight_decay is not None and self._use_weight_decay(variable)

    def clip(self, grads):
        """Clips the gradients as the settings say; called before they are applied."""
        return super()._clip_gradients(grads)

    def decay_weights(self, variables):
        """Applies weight decay; called before the gradients are applied."""
        super()._apply_weight_decay(variables)

    def update_all(self, grads, variables, learning_rate):
        """Updates variables by their gradients, clipped already; calls `update_step` for each."""
        super()._backend_update_step(grads, variables, learning_rate)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        self.update_all(grads, trainable_variables, learning_rate)

    def _clip_gradients(self, grads):
        return self.clip(grads)

    def _apply_weight_decay(self, variables):
        self.decay_weights(variables)
