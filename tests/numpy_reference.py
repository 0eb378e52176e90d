"""The network once more, in NumPy float64 and plain loops.

Written from the mathematics, not from the package, and importing nothing of it:
what the tests of layers, patches and models compare with.
"""

import math

import numpy as np


def numbers(weight):
    """A weight of any Keras backend as float64."""
    value = weight.numpy() if hasattr(weight, "numpy") else weight
    return np.asarray(value, dtype="float64")


def randomise(layer, seed=0, scale=0.5, mean=0.0):
    """Gives every weight of a layer or model random numbers, zeros among them."""
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        if "seed" not in weight.name:
            weight.assign(rng.normal(mean, scale, tuple(weight.shape)).astype("float32"))
    return layer


def dilated_convolution(x, kernel, bias, dilation, causal):
    """x [B, L, C_in], kernel [k, C_in, C_out], bias [C_out] -> [B, L, C_out]."""
    batch, length, _ = x.shape
    width, _, filters = kernel.shape
    out = np.zeros((batch, length, filters))
    for row in range(batch):
        for position in range(length):
            total = np.array(bias, dtype="float64")
            for tap in range(width):
                back = width - 1 - tap if causal else (width - 1) // 2 - tap
                seen = position - back * dilation
                if 0 <= seen < length:
                    total = total + x[row, seen] @ kernel[tap]
            out[row, position] = total
    return out


def layer_norm(x, gamma, beta, epsilon=1e-8):
    out = np.zeros_like(x)
    for place in np.ndindex(x.shape[:-1]):
        vector = x[place]
        mean = vector.sum() / len(vector)
        variance = ((vector - mean) ** 2).sum() / len(vector)
        out[place] = (vector - mean) / math.sqrt(variance + epsilon) * gamma + beta
    return out


def gelu(z):
    """By tanh, as `keras.ops.gelu` has it by default."""
    return 0.5 * z * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))


def exact_gelu(z):
    return 0.5 * z * (1 + np.vectorize(math.erf)(z / math.sqrt(2)))


def bottleneck(z, weights, inner_skip=False):
    """M(z); weights are W_down [C, K], b_down, W_up [K, C], b_up."""
    down, down_bias, up, up_bias = weights
    change = gelu(z @ down + down_bias) @ up + up_bias
    return change + z if inner_skip else change


def residual_block(
    x, mask, weights, dilation, causal, insertion=None, patches=(), inner_skip=False
):
    """One block, `mask` [B, L, 1].

    weights: for each of the two halves (kernel, bias, gamma, beta).
    patches: for each patched place, in order, the four weights of a bottleneck.
    """

    def change(z, number):
        return bottleneck(z, patches[number], inner_skip)

    (kernel1, bias1, gamma1, beta1), (kernel2, bias2, gamma2, beta2) = weights
    convolved = dilated_convolution(x, kernel1, bias1, dilation, causal)
    if insertion == "serial":
        convolved = convolved + change(convolved, 0)
    if insertion == "parallel":
        convolved = convolved + change(x, 0)
    h = np.maximum(layer_norm(convolved, gamma1, beta1), 0)
    if insertion == "parallel_after_activation":
        h = h + change(x, 0)
    h = h * mask
    convolved = dilated_convolution(h, kernel2, bias2, 2 * dilation, causal)
    if insertion == "serial":
        convolved = convolved + change(convolved, 1)
    if insertion == "parallel":
        convolved = convolved + change(h, 1)
    y = np.maximum(layer_norm(convolved, gamma2, beta2), 0)
    if insertion == "serial_single":
        y = y + change(y, 0)
    if insertion == "parallel_after_activation":
        y = y + change(h, 1)
    return x + y * mask


def backbone(ids, table, blocks, dilations, causal, final_norm):
    """ids [B, L] -> states [B, L, C].

    blocks: the weights of each block. final_norm: its gamma and beta.
    """
    mask = padding_mask(ids)
    states = embed(ids, table)
    for weights, dilation in zip(blocks, dilations, strict=True):
        states = residual_block(states, mask, weights, dilation, causal)
    return layer_norm(states, *final_norm, epsilon=1e-6) * mask


def padding_mask(ids):
    return np.array([[[1.0 if token else 0.0] for token in row] for row in ids])


def embed(ids, table):
    out = np.zeros((*ids.shape, table.shape[1]))
    for place in np.ndindex(ids.shape):
        if ids[place] != 0:
            out[place] = table[ids[place]]
    return out


def task_token(x, mask, token, causal):
    """Sequence with the token `[C]`, its mask and the token's places, row by row."""
    rows, masks, places = [], [], []
    for vectors, real in zip(x, mask[..., 0], strict=True):
        padding = int(len(real) - real.sum())
        history = list(vectors[padding:])
        front = [] if causal else [np.ravel(token)]
        zeros = [np.zeros(vectors.shape[1])] * padding
        rows.append([*zeros, *front, *history, np.ravel(token)])
        masks.append([0] * padding + [1] * (len(front) + len(history) + 1))
        places.append([0] * padding + [1] * len(front) + [0] * len(history) + [1])
    return (
        np.array(rows),
        np.array(masks, "float64")[..., np.newaxis],
        np.array(places, "float64")[..., np.newaxis],
    )


def pool(states, places):
    out = np.zeros((states.shape[0], states.shape[2]))
    for row, position in zip(*np.nonzero(places[..., 0]), strict=True):
        out[row] += states[row, position]
    return out


def log_uniform(item, items):
    """Probability of drawing `item` of `items` sorted by falling frequency."""
    return math.log((item + 2) / (item + 1)) / math.log(items + 1)


def full_softmax_loss(states, targets, table):
    losses = []
    for state, target in zip(states, targets, strict=True):
        scores = table @ state
        losses.append(math.log(np.exp(scores - scores.max()).sum()) + scores.max() - scores[target])
    return np.array(losses)


def sampled_softmax_loss(states, targets, table, drawn, law=None):
    """-log softmax of the true score among itself and the corrected negatives.

    The sum over negatives, each divided by how often it is expected among them,
    estimates the rest of the full softmax's normaliser. `law` is each item's
    probability of being drawn, log-uniform if not given.
    """
    items = len(table)
    law = [log_uniform(item, items) for item in range(items)] if law is None else law
    losses = []
    for state, target in zip(states, targets, strict=True):
        true_score = table[target] @ state
        normaliser = math.exp(true_score)
        for item in drawn:
            if item != target:
                expected = len(drawn) * law[item]
                normaliser += math.exp(table[item] @ state) / expected
        losses.append(math.log(normaliser) - true_score)
    return np.array(losses)


def block_weights(block):
    """(kernel, bias, gamma, beta) of each half of a `ResidualBlock`."""
    return [
        tuple(numbers(w) for w in (layer.kernel, layer.bias, norm.gamma, norm.beta))
        for layer, norm in zip(block.convolutions, block.norms, strict=True)
    ]


def final_norm_weights(backbone):
    """gamma and beta."""
    return [numbers(weight) for weight in (backbone.final_norm.gamma, backbone.final_norm.beta)]


def patch_weights(patch):
    """The four weights of a `BottleneckPatch`."""
    named = patch.named_weights()
    return tuple(
        numbers(named[name]) for name in ("down_kernel", "down_bias", "up_kernel", "up_bias")
    )


def numpy_table(pretrainer):
    """The output table of a pretrainer that shares it with the embedding."""
    return numbers(pretrainer.backbone.item_embedding.embeddings)[4:]


def lazy_adam_step(
    table, m, v, ids, gradients, step, lr, beta_1=0.9, beta_2=0.999, epsilon=1e-7, decay=0.0
):
    """One lazy Adam step, row by row; `step` counts from 1. Returns table, m and v."""
    table, m, v = table.copy(), m.copy(), v.copy()
    for row in set(np.asarray(ids).tolist()):
        total = sum(g for i, g in zip(ids, gradients) if i == row)
        m[row] = beta_1 * m[row] + (1 - beta_1) * total
        v[row] = beta_2 * v[row] + (1 - beta_2) * total**2
        size = lr * np.sqrt(1 - beta_2**step) / (1 - beta_1**step)
        table[row] = table[row] * (1 - lr * decay) - size * m[row] / (np.sqrt(v[row]) + epsilon)
    return table, m, v
