"""The same network, loss and optimizer by hand in PyTorch: what training is compared with.

A worker of `python tests/benchmarks/train.py --reference tests/benchmarks/torch_reference.py`
(protocol: `keras_peterrec/benchmarks/worker.py`); it needs only torch and NumPy. Its
`variant`, `--reference-variant`, is made of words joined by "-":

    compiled  torch.compile, the default        eager   no compiler
    dense     torch's fused Adam on whole tables
    sparse    torch's SparseAdam; with neither, `RowTables`, which does the same
    conv1d    `nn.Conv1d` instead of one product over the taps laid side by side

so that `eager-sparse` is SparseAdam without a compiler. `compiled` alone was the fastest.
Processor milliseconds of a step (one thread, AMD EPYC, torch 2.13, median of 8, C 64, L 50,
B 128, sampled loss, a machine with other work to do), at 50,000 and 1,000,000 items:
compiled 331 / 279, compiled-sparse 335 / 294, compiled-dense 356 / 796, compiled-conv1d
355 / 340, eager 481 / 443, eager-conv1d 523 / 510.
"""

import json
import math
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

FIRST_ITEM = 4
ADAM = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-7}  # as Keras has them


class Convolution(nn.Module):
    """Causal, dilated, kernel 3, on `[B, L, C]`."""

    def __init__(self, channels, dilation, conv1d):
        super().__init__()
        self.dilation, self.conv1d = dilation, conv1d
        if conv1d:
            self.product = nn.Conv1d(channels, channels, 3, dilation=dilation)
        else:
            self.product = nn.Linear(3 * channels, channels)

    def forward(self, x):
        d, length = self.dilation, x.shape[1]
        if self.conv1d:
            return self.product(F.pad(x.transpose(1, 2), (2 * d, 0))).transpose(1, 2)
        padded = F.pad(x, (0, 0, 2 * d, 0))
        taps = padded[:, :length], padded[:, d : d + length], padded[:, 2 * d :]
        return self.product(torch.cat(taps, -1))

    def load(self, kernel, bias):
        """Kernel `[3, C_in, C_out]`, bias `[C_out]`."""
        by_output = kernel.transpose(2, 1, 0) if self.conv1d else kernel.reshape(-1, len(bias)).T
        self.product.weight.data = torch.tensor(np.ascontiguousarray(by_output))
        self.product.bias.data = torch.tensor(bias)


class Block(nn.Module):
    """h = relu(LN1(conv_d(x))); y = relu(LN2(conv_2d(h))); x + y, masked after each."""

    def __init__(self, channels, dilation, conv1d):
        super().__init__()
        self.convolutions = nn.ModuleList(
            Convolution(channels, rate, conv1d) for rate in (dilation, 2 * dilation)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels, eps=1e-8) for _ in range(2))
        nn.init.constant_(self.norms[1].weight, 0.2)

    def forward(self, x, mask):
        branch = x
        for convolution, norm in zip(self.convolutions, self.norms):
            branch = F.relu(norm(convolution(branch))) * mask
        return x + branch


class RowTables:
    """Tables of which a step trains the rows it has looked up, as SparseAdam does.

    The distinct rows of a step are gathered into a small leaf, whose gradient is dense:
    SparseAdam itself sorts and sums the gradient's rows again and again.

    Args:
        weights: dict of `[V, C]` tensors by name.
    """

    def __init__(self, weights):
        self.weights = weights
        self.moments = {n: [torch.zeros_like(w), torch.zeros_like(w)] for n, w in weights.items()}
        self.taken, self.steps = [], 0

    def look_up(self, name, ids):
        rows, places = torch.unique(ids, return_inverse=True)
        leaf = self.weights[name].index_select(0, rows).requires_grad_()
        self.taken.append((name, rows, leaf))
        return F.embedding(places, leaf)

    @torch.no_grad()
    def step(self):
        self.steps += 1
        beta1, beta2 = ADAM["betas"]
        size = ADAM["lr"] / (1 - beta1**self.steps)
        correction = math.sqrt(1 - beta2**self.steps)
        for name, rows, leaf in self.taken:
            first, second = self.moments[name]
            m = first.index_select(0, rows).lerp_(leaf.grad, 1 - beta1)
            v = second.index_select(0, rows).mul_(beta2)
            v.addcmul_(leaf.grad, leaf.grad, value=1 - beta2)
            first.index_copy_(0, rows, m)
            second.index_copy_(0, rows, v)
            leaf.addcdiv_(m, v.sqrt_().div_(correction).add_(ADAM["eps"]), value=-size)
            self.weights[name].index_copy_(0, rows, leaf)
        self.taken = []


class WholeTables:
    """Tables trained by torch's own optimizers.

    Args:
        weights: dict of `[V, C]` tensors by name.
        sparse: bool. SparseAdam on sparse gradients, or fused Adam on dense ones.
    """

    def __init__(self, weights, sparse):
        self.weights = {name: nn.Parameter(table) for name, table in weights.items()}
        self.sparse = sparse
        tables = list(self.weights.values())
        self.optimizer = (
            torch.optim.SparseAdam(tables, **ADAM)
            if sparse
            else torch.optim.Adam(tables, fused=True, **ADAM)
        )

    def look_up(self, name, ids):
        return F.embedding(ids, self.weights[name], sparse=self.sparse)

    def step(self):
        self.optimizer.step()
        self.optimizer.zero_grad()


def full_softmax(states, targets, table):
    """Cross-entropy over all items; states `[N, C]`, targets `[N]`, table `[V, C]`."""
    return F.cross_entropy(states @ table.T, targets, reduction="none")


def sampled_softmax(states, targets, true_rows, drawn, drawn_rows, items):
    """The same over shared negatives, log-uniform and corrected; see `SampledSoftmax`."""
    true_scores = (states * true_rows).sum(-1)
    expected = len(drawn) * torch.log1p(1.0 / (drawn + 1.0)) / math.log(items + 1)
    scores = (states @ drawn_rows.T).float() - expected.log()
    scores = scores.masked_fill(targets[:, None] == drawn, -1e9)
    return torch.logaddexp(true_scores, scores.logsumexp(-1)) - true_scores


def draw(negatives, items):
    """Log-uniform items, the most frequent first."""
    drawn = torch.exp(torch.rand(negatives, dtype=torch.float64) * math.log(items + 1)).long() - 1
    return drawn.clamp_(0, items - 1)


class Reference:
    """Network, loss and optimizer of one configuration.

    Args:
        settings: dict, as the benchmark sends it.
    """

    def __init__(self, settings):
        self.settings = settings
        words = set((settings["variant"] or "compiled").split("-"))
        torch.manual_seed(settings["seed"])
        channels, items = settings["hidden_dim"], settings["items"]
        self.blocks = nn.ModuleList(
            Block(channels, (1, 4)[n % 2], "conv1d" in words) for n in range(settings["blocks"])
        )
        weights = {"input": torch.randn(items + FIRST_ITEM, channels) * channels**-0.5}
        self.final_norm = nn.LayerNorm(channels, eps=1e-6)
        trained = [*self.blocks.parameters(), *self.final_norm.parameters()]
        self.output = None
        if settings["loss"] == "full":  # every row has a gradient
            self.output = nn.Parameter(torch.randn(items, channels) * 0.02)
            trained.append(self.output)
        elif settings["loss"] == "sampled":
            weights["output"] = torch.randn(items, channels) * 0.02
        whole = words & {"dense", "sparse"}
        self.tables = WholeTables(weights, "sparse" in words) if whole else RowTables(weights)
        self.optimizer = torch.optim.Adam(trained, fused=True, **ADAM)
        self.network = self._network if "eager" in words else torch.compile(self._network)

    def load(self, input_table, blocks, final_norm, output_table=None):
        """Takes NumPy weights.

        Of the blocks it is a list of (kernel, bias, gamma, beta) pairs; of the last norm, gamma
        and beta.
        """
        with torch.no_grad():
            self.tables.weights["input"].copy_(torch.tensor(input_table))
            for weight, values in zip((self.final_norm.weight, self.final_norm.bias), final_norm):
                weight.copy_(torch.tensor(values))
            if output_table is not None:
                output = self.tables.weights.get("output") if self.output is None else self.output
                output.copy_(torch.tensor(output_table))
            for block, halves in zip(self.blocks, blocks, strict=True):
                for convolution, norm, half in zip(block.convolutions, block.norms, halves):
                    kernel, bias, gamma, beta = (np.asarray(w, "float32") for w in half)
                    convolution.load(kernel, bias)
                    norm.weight.copy_(torch.tensor(gamma))
                    norm.bias.copy_(torch.tensor(beta))

    def _network(self, embedded, mask, targets, *output):
        """Loss of embedded items `[B, L, C]`, mask `[B, L, 1]`, targets `[N]`."""
        states = embedded * mask
        for block in self.blocks:
            states = block(states, mask)
        states = self.final_norm(states) * mask
        states = states.reshape(-1, states.shape[-1])
        counted, targets = (targets >= 0).float(), targets.clamp_min(0)
        if self.settings["loss"] == "backbone":
            losses = states.float().square().sum(-1)
        else:
            function = full_softmax if self.settings["loss"] == "full" else sampled_softmax
            losses = function(states, targets, *output) * counted
        return losses.sum() / counted.sum().clamp_min(1)

    def loss(self, history, targets, drawn=None):
        """Of ids `[B, L]` each; `drawn` are negatives in place of random ones."""
        items = self.settings["items"]
        targets = targets.reshape(-1) - FIRST_ITEM
        embedded = self.tables.look_up("input", history)
        mask = (history != 0).float()[..., None]
        output = ()
        if self.settings["loss"] == "full":
            output = (self.output,)
        elif self.settings["loss"] == "sampled":
            drawn = draw(self.settings["negatives"], items) if drawn is None else drawn
            rows = self.tables.look_up("output", torch.cat([targets.clamp_min(0), drawn]))
            output = rows[: len(targets)], drawn, rows[len(targets) :], items
        with torch.autocast("cpu", torch.bfloat16, enabled=self._mixed()):
            return self.network(embedded, mask, targets, *output)

    def _mixed(self):
        return self.settings["precision"] == "mixed_bfloat16"

    def step(self, history, targets, drawn=None):
        """One training step; returns its loss."""
        loss = self.loss(history, targets, drawn)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.tables.step()
        return loss.item()


class Steps:
    """Training steps on batches that come round again and again."""

    def __init__(self, settings):
        batches = torch.from_numpy(np.load(settings["batches"]))  # [n, B, L + 1]
        self.batches = [(b[:, :-1].contiguous(), b[:, 1:].contiguous()) for b in batches]
        self.reference, self.taken = Reference(settings), 0

    def step(self):
        self.taken += 1
        return self.reference.step(*self.batches[self.taken % len(self.batches)])

    def run(self, steps):
        self.step()
        milliseconds = []
        for _ in range(steps):
            began = time.perf_counter()
            loss = self.step()
            milliseconds.append((time.perf_counter() - began) * 1e3)
        return {"milliseconds": milliseconds, "peak_bytes": peak_bytes(), "loss": loss}


def peak_bytes():
    """The most memory that this process has had resident."""
    status = Path("/proc/self/status")
    if status.exists():  # `ru_maxrss` may be the parent's
        line = next(line for line in status.read_text().split("\n") if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a compiler prints must not come between the answers

    def answer(content):
        print(json.dumps(content), file=answers, flush=True)

    settings = json.loads(sys.argv[1])
    if settings["precision"] == "mixed_float16":
        answer({"refused": "the reference trains in float32 or bfloat16"})
        return
    resident = peak_bytes()
    steps = Steps(settings)
    steps.step()
    name = f"torch {torch.__version__} {settings['variant'] or 'compiled'}"
    answer(
        {
            "name": name,
            "start_bytes": resident,
            "versions": {"torch": torch.__version__},
        }
    )
    for request in sys.stdin:
        answer(steps.run(int(request.split()[1])))


if __name__ == "__main__":
    main()
