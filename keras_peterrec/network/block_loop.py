"""The residual blocks of a network, one after the other or as a loop over stacked weights.

A graph of eight blocks takes eight times as long to trace and to compile as a graph of one, and
all blocks do the same with other weights. So a training step, which is compiled before anybody
sees a result, loops over stacks of the blocks' weights: its graph holds one block. Everywhere else
the blocks are called one by one: eagerly, in a SavedModel, and on other Keras backends than
TensorFlow.
"""

import contextlib
import contextvars

import keras

from keras_peterrec.layers.forms import UnknownForm, form_of, seed_generators
from keras_peterrec.network.dilated_convolution import Dilation

# False, True, or a BlockStacks whose tensors are at hand.
_looping = contextvars.ContextVar("looping", default=False)


@contextlib.contextmanager
def looping(stacks=None):
    """Within this block, a graph loops over the residual blocks wherever that is possible.

    Args:
        stacks: BlockStacks or `None`. Whose tensors the loop reads; others are stacked in the
            graph. Defaults to `None`.
    """
    token = _looping.set(stacks or keras.backend.backend() == "tensorflow")
    try:
        yield
    finally:
        _looping.reset(token)


def run_blocks(blocks, states, padding_mask, sequence_ids=None, patches=None, training=None):
    """The states after all blocks.

    Args:
        blocks: list of ResidualBlock.
        states: Tensor of shape `[B, L, C]`.
        padding_mask, sequence_ids: see `ResidualBlock`.
        patches: dict of dict or `None`. For each block's name its patches, `{site: PatchLayer}`.
        training: bool or `None`.

    Returns:
        Tensor of shape `[B, L, C]`.
    """

    def step(block, at_sites, carried, **dilation):
        given = {"patches": at_sites, "training": training, **dilation}
        return (block(*carried, padding_mask, sequence_ids, **given),)

    (states,) = _run(_places(blocks, patches), step, (states,), training)
    return states


def run_blocks_with_tokens(
    blocks, states, tokens, padding_mask, sequence_ids, patches=None, training=None
):
    """The states after all blocks, of sequences and of a token beside each of their positions.

    Args:
        tokens: Tensor of shape `[B, L, C]`; see `ResidualBlock.with_tokens`.
        blocks, states, padding_mask, sequence_ids, patches, training: see `run_blocks`.

    Returns:
        Two tensors of shape `[B, L, C]`.
    """

    def step(block, at_sites, carried, **dilation):
        arguments = (padding_mask, sequence_ids, at_sites, training)
        return block.with_tokens(*carried, *arguments, **dilation)

    return _run(_places(blocks, patches), step, (states, tokens), training)


def _places(blocks, patches):
    return [(block, {} if patches is None else patches[block.name]) for block in blocks]


def _run(places, step, carried, training):
    """Applies a step of every block to what is carried from block to block, a tuple."""
    # XLA cannot compile the gradient of a loop over tensors whose shape it does not know.
    looping = _looping.get() and not (training and None in carried[0].shape)
    stacks = looping and BlockStacks.of(places)
    if stacks:
        return _loop(step, stacks, carried)
    for place in places:
        carried = step(*place, carried)
    return carried


def _loop(step, stacks, carried):
    import tensorflow as tf

    period = stacks.period
    count = len(stacks.blocks) // period
    rates = tf.constant([block.dilation_rate for block in stacks.blocks])
    largest = max(block.dilation_rate for block in stacks.blocks)
    tensors = stacks.tensors()

    def body(index, carried):
        for place in range(period):
            rows = [(variable, stack[index]) for variable, stack in tensors[place]]
            with keras.StatelessScope(state_mapping=rows):
                rate = rates[index * period + place]
                carried = step(*stacks.places[place], carried, dilation=Dilation(rate, largest))
        return index + 1, carried

    shapes = tf.TensorShape([]), tuple(part.shape for part in carried)
    _, carried = tf.while_loop(
        lambda index, carried: index < count,
        body,
        (tf.constant(0), carried),
        shape_invariants=shapes,
        maximum_iterations=count,
    )
    return carried


class BlockStacks:
    """The variables of blocks and their patches, in groups whose values can be stacked.

    Args:
        places: list of (ResidualBlock, `{site: patch}`).
        period: int. How many neighbouring blocks a body has; blocks that lie so far apart have
            the same form.

    Attributes:
        groups: list of lists of variables, one list for a stack. Row i of a stack belongs to
            iteration i of the loop.
        given: list of tensors, one for a group, or `None`: what `tensors` should read.
    """

    def __init__(self, places, period):
        self.places = places
        self.blocks = [block for block, _ in places]
        self.period = period
        self.given = None
        parts = [_weights_and_seeds(*place) for place in places]
        self._seeds = [seeds for _, seeds in parts]
        self._groups = [
            list(map(list, zip(*(weights for weights, _ in parts[place::period]))))
            for place in range(period)
        ]
        self.groups = [group for groups in self._groups for group in groups]

    def form(self):
        """What `form_of` compares."""
        return self.period, len(self.blocks)

    @classmethod
    def of(cls, places):
        """The stacks of these blocks, or `None` if they are too different for a loop."""
        at_hand = _looping.get()
        if isinstance(at_hand, cls) and at_hand.places == places:
            return at_hand
        period = _period(places)
        return period and cls(places, period)

    def tensors(self):
        """For each place in the body, pairs of a variable of the first iteration and a stack.

        Each random seed is drawn here, once for every block, as a call of the block would.
        """
        import tensorflow as tf

        given = iter(self.given or [tf.stack([v.value for v in g]) for g in self.groups])
        found = []
        for place, groups in enumerate(self._groups):
            pairs = [(group[0], next(given)) for group in groups]
            seeds = self._seeds[place :: self.period]
            for same in zip(*seeds):
                pairs.append((same[0].state, tf.stack([seed.next() for seed in same])))
            found.append(pairs)
        return found


def _weights_and_seeds(block, at_sites):
    """The weights and the seed generators of a block and its patches."""
    layers = [block, *(at_sites[site] for site in sorted(at_sites))]
    seeds = {id(seed): seed for layer in layers for seed in seed_generators(layer)}
    states = {id(seed.state) for seed in seeds.values()}
    weights = [v for layer in layers for v in layer.variables if id(v) not in states]
    return weights, list(seeds.values())


def _period(places):
    """How many neighbouring blocks a body needs so that it can be repeated, or `None`."""
    try:
        forms = [(block.form(), form_of(dict(sorted(at.items())))) for block, at in places]
    except UnknownForm:
        return None
    for period in range(1, len(forms) // 2 + 1):
        repeats = all(form == forms[place % period] for place, form in enumerate(forms))
        if repeats and len(forms) % period == 0:
            return period
    return None
