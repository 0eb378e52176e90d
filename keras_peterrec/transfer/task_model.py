"""A task's model: the host, the patches of one task, and a head.

It is trained row by row as it is, its head alone (`head_model`), or on all cuts of a history in one
pass over it (`UserPasses`).
"""

from typing import Any, Self

import keras
from keras import ops

from keras_peterrec.errors import InputError, refuse
from keras_peterrec.layers.task_token import TaskToken
from keras_peterrec.layers.user_field_vectors import UserFieldVectors
from keras_peterrec.linear.linear_table import LinearTable
from keras_peterrec.log.event_fields import EventFields
from keras_peterrec.network.network import Network, shared_config
from keras_peterrec.patches.patch_layer import PatchLayer
from keras_peterrec.patches.patch_method import PatchMethod
from keras_peterrec.patches.short_names import get_patch, patch_from_config
from keras_peterrec.tasks.heads import head_weights
from keras_peterrec.training.replicated_model import ReplicatedModel, ReplicatedTraining
from keras_peterrec.transfer.patched_host import PatchedHost
from keras_peterrec.types import Json, Layer, Tensor


@keras.saving.register_keras_serializable("keras_peterrec")
class TaskModel(ReplicatedTraining, keras.Model):
    """Maps a history to a task's scores, through a host that it does not change.

        history -> patched_host (+ user_fields) -> user_dropout -> head (+ linear)

    Many task models can share one host object, and a pass through one cannot see another.
    Nothing done to a task model reaches a shared host: `trainable`, of the model or of its
    layers, is about the task's own weights, and which of the host's weights are trained is
    said by `train_host` alone.

    Args:
        host: Network. Shared; never changed unless `train_host` says so.
        head: Layer. Maps the user's state `[B, C]` to scores.
        patch: PatchMethod, str or `None`. Such as `Bottleneck(8)` or its short name
            `"bottleneck:8"`; `None` for no patches. Defaults to `None`.
        dropout: float. Rate of the dropout on the user's state. Defaults to `0.0`.
        name: str. Defaults to `"task"`.
        history_length: int or `None`. How many of the last events of a history a caller should
            hand over; the network reads the last `window` of them. Defaults to `None`, `window`.
        window: int or `None`. How many of the last events the host and the patches read.
            Defaults to `None`, all.
        train_host: bool or int. Which weights of the host are trained: none, all, or those of
            its last so many layers (`Network.last_weights`). Use it with a host of the task's own,
            as `build_task` does. Defaults to `False`.
        train_token: bool. Whether the task token is trained. Defaults to `True`.
        linear: LinearTable or `None`. The linear part, whose scores are added to the head's. It
            is not trained, and training does not see it. It can also be set later. A caller then
            hands over as many events as it reads, so give `window` as well. Defaults to `None`.
        user_fields: UserFieldVectors or `None`. What columns of users add to the user's state. It
            can also be set later. Defaults to `None`, no columns.
        own_fields: EventFields that the task reads of events beside those of the host, or in their
            place. Tables of new ones are among its patches. Defaults to `EventFields()`, none.

    Call arguments:
        history: Integer tensor of shape `[B, L]`, padded on the left. L should be at most
            `history_length` where that is a number. Or a dict of it as `history` and of `told`,
            integer tensor of shape `[B, G]`, what columns say of the users; without it they say
            nothing.

    Returns:
        Tensor of shape `[B, Y]` (recommendation) or `[B, classes]` (logits).

    Raises:
        InputError: `host`, `history_length`, `window` or `train_host` is not allowed, or `patch`
            does not fit the host.

    Example:

    >>> task = TaskModel(host.backbone, RecommenderHead(200), patch="bottleneck:8,serial")
    >>> task(np.array([[0, 0, 17, 5]])).shape
    (1, 200)

    Source: Yuan et al., SIGIR 2020, section 3.3 and 3.4, Fig. 2.
    """

    def __init__(
        self,
        host: Network,
        head: keras.layers.Layer,
        patch: PatchMethod | str | None = None,
        dropout: float = 0.0,
        name: str = "task",
        history_length: int | None = None,
        window: int | None = None,
        train_host: bool | int = False,
        train_token: bool = True,
        linear: LinearTable | None = None,
        user_fields: UserFieldVectors | None = None,
        own_fields: EventFields = EventFields(),
        **kwargs: Any,
    ) -> None:
        if not isinstance(host, Network):
            refuse("host", "a Network, such as `Host.backbone` or a `copy()` of one", host)
        _check_count("history_length", history_length, (None,))
        _check_count("window", window, (None,))
        _check_count("train_host", train_host, (True, False))
        dtype = host.item_embedding.dtype_policy
        super().__init__(name=name, dtype=dtype, **kwargs)
        self.patch = None if patch is None else get_patch(patch).for_host(host)
        self.dropout = dropout
        self.history_length = history_length
        self.own_fields = own_fields
        parts = host, self.patch, window, train_host, train_token, own_fields.sizes
        self.patched_host = PatchedHost(*parts, name="patched_host")
        self.user_dropout = keras.layers.Dropout(dropout, name="user_dropout", dtype=dtype)
        self.head = head
        # Each layer is built by a call with a symbol: so `summary` knows the shapes, and a head
        # may be any layer, also one that does not make its weights in `build`.
        users = self.patched_host(keras.Input((None,), dtype="int32", name="history"))
        if self.patch is not None and not self.patched_host.patch_layers:
            raise InputError(
                "`patch` should be a method that finds sites in the host. "
                f"Received: {self.patch.short_name} on a {type(host).__name__}."
            )
        scores = head(self.user_dropout(users))
        self._output_shape = tuple(scores.shape)
        self.linear = linear
        self.user_fields = user_fields
        self.built = True

    def call(self, history: Tensor, training: bool | None = None) -> Tensor:
        told = None
        if isinstance(history, dict):
            history, told = history["history"], history.get("told")
        users = self.with_told(self.patched_host(history, training=training), told)
        scores = self.head(self.user_dropout(users, training=training))
        # Its scores of the training rows are better than they will be of others, so a network
        # that is trained on top of them would learn to rely on them too much.
        if self.linear is None or training:
            return scores
        return ops.cast(scores, "float32") + self.linear(history, told)

    def with_told(self, users: Tensor, told: Tensor | None) -> Tensor:
        """Users `[B, C]`, of `user_states`, as the head reads them.

        `told` is what columns say of them, integers `[B, G]`, or `None` where they say nothing.
        """
        return users if self.user_fields is None or told is None else self.user_fields(users, told)

    def unused_in_training(self) -> list[Layer]:
        return [] if self.linear is None else [self.linear]

    def form(self) -> object:
        """What models have in common that share a compiled training step; see `form_of`."""
        return self.patched_host, self.head, self.dropout, self.user_fields

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """The shape of the scores, `(None, Y)`."""
        return self._output_shape

    @property
    def host(self) -> Network:
        """The Network that the task stands on."""
        return self.patched_host.host

    @property
    def patches(self) -> dict[str, dict[str, PatchLayer]]:
        """The patches, `{place: {site: PatchLayer}}`; see `PatchMethod.patches_by_place`."""
        return self.patched_host.patches

    @property
    def task_token(self) -> TaskToken:
        """The layer that holds the task token."""
        return self.patched_host.task_token

    @property
    def window(self) -> int | None:
        """How many of the last events the host and the patches read."""
        return self.patched_host.window

    @property
    def events_read(self) -> int | None:
        """How many of the last events a caller should hand over; `None`, all."""
        longest = self.history_length or self.window
        return longest and max(longest, self.linear_events)

    @property
    def linear_events(self) -> int:
        """How many of the last events the linear part reads; 0 without one."""
        return 0 if self.linear is None else self.linear.bag.events

    def user_states(self, history: Tensor) -> Tensor:
        """The user `[B, C]` after a history `[B, L]` or `[B, L, 1 + F]`.

        What the head reads, but for what columns say of the user; see `with_told`.
        """
        return self.patched_host(history, training=False)

    def user_states_at(
        self, history: Tensor, cuts: Tensor, training: bool | None = False, at_ends: bool = False
    ) -> Tensor:
        """The users at many cuts of a history, in one pass over it.

        Args:
            history: Integer tensor of shape `[B, L]`. One or more histories a row, each with
                padding after it.
            cuts: Integer tensor of shape `[B, S]`, positions in the rows: each asks for the
                history up to the event before.
            training: bool or `None`. Whether dropout acts. The cuts of a history then share what
                is dropped along it. Defaults to `False`.
            at_ends: bool. Whether each cut is at the padding after a history: that costs half.
                Defaults to `False`.

        Returns:
            Tensor of shape `[B·S, C]`.
        """
        return self.patched_host(history, cuts, at_ends=at_ends, training=training)

    def user_states_at_ends(self, history: Tensor, cuts: Tensor) -> Tensor:
        """`user_states_at` where every cut is at the end of a history, at half the cost."""
        return self.user_states_at(history, cuts, at_ends=True)

    def reach(self, max_length: int) -> int | None:
        """How many of the events before a cut `user_states_at` needs, to tell the user there.

        Args:
            max_length: int. How many of the last events of a history the task reads.

        Returns:
            int, or `None` where one pass over a history cannot tell the users at its cuts: the
            host is bidirectional or does not run its tokens beside the events, or the task reads
            fewer events than the host can see.
        """
        field = self.host.receptive_field
        window = min(max_length, self.window or max_length)
        if not (self.host.causal and self.host.runs_beside) or field is None or window < field - 1:
            return None
        return field - 1

    def history_settings(self) -> dict[str, Any]:
        """The arguments `history_length` and `window` for a model that reads the same."""
        return {"history_length": self.history_length, "window": self.window}

    def task_weights(self) -> dict[str, Any]:
        """The task's own weights by path, `{path: variable}`; the host's are not among them."""
        named = {"task_token/token": self.task_token.token}
        for place, patches in self.patches.items():
            for site, patch in patches.items():
                for name, weight in patch.named_weights().items():
                    named[f"patches/{place}/{site}/{name}"] = weight
        if self.linear is not None:
            named.update(self.linear.named_weights())
        return {**named, **self.readout_weights()}

    def readout_weights(self) -> dict[str, Any]:
        """What of `task_weights` reads the users' states: the head, and the columns of users."""
        of_users = {} if self.user_fields is None else self.user_fields.named_weights()
        return {**of_users, **head_weights(self.head)}

    def get_config(self) -> Json:
        return {
            "host": shared_config(self.host),
            "head": keras.saving.serialize_keras_object(self.head),
            "patch": None if self.patch is None else self.patch.to_config(),
            "dropout": self.dropout,
            "name": self.name,
            **self.history_settings(),
            "train_host": self.patched_host.train_host,
            "train_token": self.patched_host.train_token,
            "linear": keras.saving.serialize_keras_object(self.linear),
            "user_fields": keras.saving.serialize_keras_object(self.user_fields),
            "own_fields": self.own_fields.to_config(),
        }

    @classmethod
    def from_config(cls, config: Json) -> Self:
        config = dict(config)
        for part in ("host", "head", "linear", "user_fields"):
            config[part] = keras.saving.deserialize_keras_object(config[part])
        config["patch"] = patch_from_config(config["patch"])
        config["own_fields"] = EventFields.from_config(config["own_fields"])
        return cls(**config)

    def __repr__(self) -> str:
        patch = "no patch" if self.patch is None else self.patch.short_name
        return f"<TaskModel {self.name}: {patch}, {type(self.head).__name__}>"


def head_model(task: TaskModel) -> keras.Model:
    """The last part of a task model: from users' states to scores.

        user_states (+ user_fields) -> user_dropout -> head

    The method `head` trains nothing else. So the state of every user is computed once, and a
    training step does not run the host. The layers are the task's own: training one trains the
    other.

    The model is not compiled; it reads what `task.user_states` gives or, where columns of users are
    read, a dict of that as `users` and of `told`.
    """
    users = keras.Input((task.host.hidden_dim,), dtype=task.compute_dtype, name="users")
    inputs, read = users, users
    if task.user_fields is not None:
        inputs = {"users": users, "told": keras.Input((None,), dtype="int32", name="told")}
        read = task.user_fields(users, inputs["told"])
    return ReplicatedModel(inputs, task.head(task.user_dropout(read)), name=f"{task.name}_head")


class UserPasses(ReplicatedTraining, keras.Model):
    """A task model that answers for many cuts of a history in one pass over it.

    Row by row, a user with 50 target events has 50 rows, and the host runs over nearly the same
    history 50 times. Here it runs once: inside the host a task token stands at every position
    beside the event, so each cut costs one more column. Losses and gradients are those of the
    rows within float noise, where nothing is dropped inside the host. Where something is, the
    cuts of one history share what is dropped along it, and the tokens draw their own.

    Bidirectional hosts are not supported; see `TaskModel.reach`.

    Training this model trains `task`, and nothing else. It is called with a dict of `history`,
    int32 `[B, L]`, and `cuts`, int32 `[B, S]`, see `TaskModel.user_states_at`; and perhaps of
    `told`, int32 `[B, S, G]`, what columns say of the user at each cut. It answers with the scores
    at the cuts, `[B, S, Y]`.

    Example:

    >>> passes = UserPasses(task)
    >>> history, cuts = np.array([[17, 5, 9, 0, 8, 0]]), np.array([[1, 3, 5]])
    >>> passes({"history": history, "cuts": cuts}).shape  # after 17; 17, 5, 9; and 8
    (1, 3, 200)
    """

    def __init__(self, task: TaskModel, at_ends: bool = False) -> None:
        super().__init__(name=f"{task.name}_passes", dtype=task.dtype_policy)
        self.task = task
        self.at_ends = at_ends
        self.built = True

    def call(self, inputs: dict[str, Tensor], training: bool | None = None) -> Tensor:
        task, cuts = self.task, inputs["cuts"]
        users = task.user_states_at(inputs["history"], cuts, training, self.at_ends)
        if (told := inputs.get("told")) is not None:
            users = task.with_told(users, ops.reshape(told, (-1, told.shape[-1])))
        scores = task.head(task.user_dropout(users, training=training))
        return ops.reshape(scores, (*ops.shape(cuts), scores.shape[-1]))

    def unused_in_training(self) -> list[Layer]:
        return self.task.unused_in_training()

    def form(self) -> object:
        """What models have in common that share a compiled training step; see `form_of`."""
        return self.task, self.at_ends


def _check_count(argument, value, besides):
    if any(value is allowed for allowed in besides):
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(
            f"`{argument}` should be a positive integer or {' or '.join(map(str, besides))}. "
            f"Received: `{argument}` = {value!r}."
        )
