"""Places inside a residual block where a patch may act."""

CONVOLUTION_SITES = ("convolution_1", "convolution_2")
NORM_SITES = ("norm_1", "norm_2")
ACTIVATION_SITES = ("activation_1", "activation_2")
# In the order in which a block comes by them.
SITES = ("convolution_1", "norm_1", "activation_1", "convolution_2", "norm_2", "activation_2")
