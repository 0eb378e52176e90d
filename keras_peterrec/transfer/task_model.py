"""A task's model: the host, one task's patches, and a head."""

import keras

from keras_peterrec.distribution.replicated_model import ReplicatedModel
from keras_peterrec.errors import InputError
from keras_peterrec.layers.history_summary import HistorySummary
from keras_peterrec.layers.history_sums import HistorySums
from keras_peterrec.layers.task_token import TaskToken
from keras_peterrec.layers.token_pooling import TokenPooling
from keras_peterrec.patches.patched_block import PatchedBlock
from keras_peterrec.patches.registry import get_patch, patch_from_config, patch_to_config


@keras.saving.register_keras_serializable("keras_peterrec")
class TaskModel(ReplicatedModel):
    """Maps a history to a task's scores, through a host that it does not change.

    The model is built from a host, patches and a head: it walks the host's blocks
    and hands each the patches of this task. Many task models stand over one host
    object, and a pass through one cannot see another.

    Args:
        host: Backbone. Shared, never changed.
        head: Layer from the user's state `[B, C]` to scores.
        patch: PatchMethod such as `Bottleneck(8)`, or its short name such as
            `"lora:4"`, or `None` for no patches. Defaults to `None`.
        dropout: float. Rate of the dropout on the user's state. Defaults to `0.0`.
        summary: bool or int. Whether a `HistorySummary` joins the task token's state, which
            is all that the paper's head reads; a number says of how many of the last events
            it is meant to be. Defaults to `False`.
        window: int or `None`. Last events that the host and the patches read of a history,
            while the summary reads all. Defaults to `None`, all as well.

    Call arguments:
        history: Integer tensor of shape `[B, L]`, padded on the left; L at most
            `history_length` where that is a number.

    Returns:
        Tensor of shape `[B, Y]` (recommendation) or `[B, classes]` (logits).

    Raises:
        InputError: `summary` or `window` is no positive number of events.

    Example:

    >>> task = TaskModel(host, RecommenderHead(200), patch=Bottleneck(8))
    >>> task(np.array([[0, 0, 17, 5]])).shape
    (1, 200)

    Source: Yuan et al., SIGIR 2020, section 3.3 and 3.4, Fig. 2.
    """

    def __init__(
        self, host, head, patch=None, dropout=0.0, name="task", summary=False, window=None, **kwargs
    ):
        _check_events("summary", summary, (True, False))
        _check_events("window", window, (None,))
        patch = get_patch(patch).for_host(host) if patch is not None else None
        tokens = 1 if patch is None else patch.tokens
        dtype = host.item_embedding.dtype_policy
        task_token = TaskToken(host.causal, tokens, name="task_token", dtype=dtype)
        patches = {
            block.name: {} if patch is None else patch.make_patches(block, index, dtype)
            for index, block in enumerate(host.blocks, 1)
        }
        patched_blocks = [
            PatchedBlock(block, patches[block.name], name=f"patched_{block.name}", dtype=dtype)
            for block in host.blocks
        ]
        user_pooling = TokenPooling(tokens, name="user", dtype=dtype)
        join = HistorySummary(name="summary", dtype=dtype) if summary else None
        sums = HistorySums(name="history_sums", dtype=dtype) if summary else None
        history = keras.Input((None,), dtype="int32", name="history")
        parts = host, task_token, patched_blocks, user_pooling, sums, window
        user = _joined(join, _features(*parts, history))
        user = keras.layers.Dropout(dropout, name="user_dropout", dtype=dtype)(user)
        super().__init__(inputs=history, outputs=head(user), name=name, **kwargs)
        self.host = host
        self.head = head
        self.patch = patch
        self.patches = patches
        self.task_token = task_token
        self.patched_blocks = patched_blocks
        self.user_pooling = user_pooling
        self.dropout = dropout
        self.summary, self.history_sums = join, sums
        self.window = window
        self.history_length = None if isinstance(summary, bool) else summary

    def user_states(self, history):
        """The user after a history `[B, L]`, as `[B, C]`: what the head reads."""
        return self.user_of(self.features(history))

    def features(self, history):
        """What the host and the patches say of a history `[B, L]`.

        It is all that the rest of the model needs: the task token's state `[B, C]`, or,
        with a summary, what `HistorySummary` reads, `[B, C + F]`.
        """
        return _features(
            self.host,
            self.task_token,
            self.patched_blocks,
            self.user_pooling,
            self.history_sums,
            self.window,
            history,
            training=False,
        )

    def user_of(self, features):
        """The user `[B, C]` of `features`."""
        return _joined(self.summary, features)

    def summary_settings(self):
        """`summary` and `window`, as another model like this one takes them, dict."""
        summary = self.history_length or self.summary is not None
        return {"summary": summary, "window": self.window}

    def task_weights(self):
        """The task's own weights, never the host's, by path: `{path: variable}`."""
        named = {"task_token/token": self.task_token.token}
        for block, patches in self.patches.items():
            for site, patch in patches.items():
                for name, weight in patch.named_weights().items():
                    named[f"patches/{block}/{site}/{name}"] = weight
        if self.summary is not None:
            named["summary/kernel"] = self.summary.kernel
        for weight in self.head.weights:
            named[f"head/{weight.name}"] = weight
        return named

    def get_config(self):
        return {
            "host": keras.saving.serialize_keras_object(self.host),
            "head": keras.saving.serialize_keras_object(self.head),
            "patch": patch_to_config(self.patch),
            "dropout": self.dropout,
            "name": self.name,
            **self.summary_settings(),
            "token_trainable": self.task_token.trainable,
            "host_trainable": [layer.trainable for layer in _host_layers(self.host)],
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        host_trainable = config.pop("host_trainable")
        token_trainable = config.pop("token_trainable", True)
        for part in ("host", "head"):
            config[part] = keras.saving.deserialize_keras_object(config[part])
        config["patch"] = patch_from_config(config["patch"])
        for layer, trainable in zip(_host_layers(config["host"]), host_trainable):
            layer.trainable = trainable
        model = cls(**config)
        model.task_token.trainable = token_trainable
        return model


def _features(host, task_token, patched_blocks, pooling, sums, window, history, training=None):
    """From ids `[B, L]` through the host and the patches; see `TaskModel.features`."""
    padding_mask = host.padding_mask_layer(history)
    items = host.item_embedding(history)
    read, read_mask = last_events(items, padding_mask, window)
    embedded = host.embedding_dropout(read, training=training)
    states, mask, positions = task_token(embedded * read_mask, read_mask)
    for block in patched_blocks:
        states = block(states, mask, training=training)
    user = pooling(states, positions)
    return user if sums is None else HistorySummary.features(user, *sums(items, padding_mask))


def last_events(items, padding_mask, window):
    """The last `window` of items `[B, L, C]` and of their mask `[B, L, 1]`; `None` for all."""
    if window is None:
        return items, padding_mask
    return items[:, -window:], padding_mask[:, -window:]


def _check_events(argument, value, besides):
    if any(value is allowed for allowed in besides):
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(
            f"`{argument}` should be a positive integer or {' or '.join(map(str, besides))}. "
            f"Received: `{argument}` = {value!r}."
        )


def _joined(summary, features):
    return features if summary is None else summary(features)


def _host_layers(host):
    """The layers of a host that hold weights."""
    pairs = [pair for block in host.blocks for pair in zip(block.convolutions, block.norms)]
    return [host.item_embedding, *(layer for pair in pairs for layer in pair)]
