"""What REST and gRPC ask of models."""

import numpy as np

from keras_peterrec.serving.server.classification import (
    INPUTS,
    check_classify,
    check_examples,
    check_regress,
    classes_of,
    examples_array,
    regressions_of,
)
from keras_peterrec.serving.server.errors import invalid
from keras_peterrec.serving.server.signature import find_signature


class Inference:
    """Runs signatures of versions through the batcher, within limits.

    Args:
        batcher: Batcher.
        max_string_bytes: int. Of one history.

    Example:

    >>> outputs = await inference.run(signature, {"history": array})
    """

    def __init__(self, batcher, max_string_bytes):
        self.batcher = batcher
        self.max_string_bytes = max_string_bytes
        self.max_rows = batcher.limits.request_rows

    async def run(self, signature, inputs, alone=False):
        """Answers of a signature; see `Batcher.run`.

        Raises:
            ServingError: the inputs are not its, or too long.
        """
        signature.check(inputs)
        for name, array in inputs.items():
            if array.dtype != np.dtype(object):
                continue
            longest = max(map(len, array.reshape(-1).tolist()), default=0)
            if longest > self.max_string_bytes:
                raise invalid(
                    "Strings of ",
                    name,
                    " should be at most ",
                    self.max_string_bytes,
                    " bytes long. Received: ",
                    longest,
                )
        return await self.batcher.run(signature, inputs, alone)

    async def classify(self, version, signature_name, given, alone=False):
        """Labels and scores of examples.

        Args:
            version: LoadedVersion.
            signature_name: str.
            given: `Input` message.
            alone: bool. See `Batcher.run`. Defaults to `False`.

        Returns:
            list of lists of (label, score), one list for each example.

        Raises:
            ServingError: the signature does not classify.
        """
        call = version, signature_name, given, alone
        return await self._examples(*call, check_classify, classes_of)

    async def regress(self, version, signature_name, given, alone=False):
        """Values of examples: float32 array `[B]`; see `classify`."""
        call = version, signature_name, given, alone
        return await self._examples(*call, check_regress, regressions_of)

    async def _examples(self, version, signature_name, given, alone, check, result):
        signature = find_signature(
            version.signatures,
            signature_name,
            lambda name: invalid("No signature was found with the name: ", name),
        )
        check(signature)
        check_examples(given, self.max_rows)
        examples = examples_array(given)
        arrays = await self.run(signature, {INPUTS: examples}, alone)
        return result(signature, arrays, len(examples))
