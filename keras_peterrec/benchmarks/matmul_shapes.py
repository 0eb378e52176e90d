"""The matrix products by which a machine is judged."""

SQUARE = 2048
PRODUCTS = ("forward", "input_gradient", "kernel_gradient")


def matmul_operations(tokens, channels):
    """Floating-point operations of each product of `matmul_seconds`."""
    each = 2 * tokens * 3 * channels * channels
    return {**dict.fromkeys(PRODUCTS, each), "square": 2 * SQUARE**3}
