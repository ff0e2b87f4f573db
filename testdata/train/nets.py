"""The architectures of testdata. Every network maps float [N,1,28,28] to logits [N,10]."""
import torch.nn.functional as F
from torch import nn


class MLP(nn.Module):
    """784 - h1 - h2 - 10 with ReLU."""

    def __init__(self, h1, h2, bias=True):
        super().__init__()
        self.fc1 = nn.Linear(784, h1, bias=bias)
        self.fc2 = nn.Linear(h1, h2, bias=bias)
        self.fc3 = nn.Linear(h2, 10, bias=bias)

    def forward(self, x):
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc3(F.relu(self.fc2(x)))


class CNN(nn.Module):
    """Three conv-BN-ReLU-pool stages; the Flatten keeps 3x3 positions per channel."""

    def __init__(self, widths=(12, 24, 32), hidden=48):
        super().__init__()
        a, b, c = widths
        self.conv1, self.bn1 = nn.Conv2d(1, a, 3, padding=1, bias=False), nn.BatchNorm2d(a)
        self.conv2, self.bn2 = nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b)
        self.conv3, self.bn3 = nn.Conv2d(b, c, 3, padding=1, bias=False), nn.BatchNorm2d(c)
        self.fc1 = nn.Linear(c * 9, hidden)
        self.fc2 = nn.Linear(hidden, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        x = F.max_pool2d(F.relu(self.bn3(self.conv3(x))), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


class VGG(nn.Module):
    """Plain convolutions with bias and without BatchNorm."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 3, padding=1)
        self.conv2 = nn.Conv2d(12, 16, 3, padding=1)
        self.conv3 = nn.Conv2d(16, 24, 3, padding=1)
        self.conv4 = nn.Conv2d(24, 24, 3, padding=1)
        self.fc = nn.Linear(24 * 49, 10)

    def forward(self, x):
        x = F.relu(self.conv2(F.max_pool2d(F.relu(self.conv1(x)), 2)))
        x = F.max_pool2d(F.relu(self.conv3(x)), 2)
        return self.fc(F.relu(self.conv4(x)).flatten(1))


class Block(nn.Module):
    """Basic residual block. A change of width goes through a 1x1 convolution
    ("projection") or, option A, through sub-sampling and zero channels on both sides."""

    def __init__(self, cin, cout, stride, shortcut):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(cout)
        self.stride, self.pad = stride, (cout - cin) // 2
        self.down = None
        if shortcut == "projection" and cin != cout:
            self.down = nn.Sequential(nn.Conv2d(cin, cout, 1, stride=stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.down is not None:
            x = self.down(x)
        elif self.pad:
            x = F.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, self.pad, self.pad))
        return F.relu(x + y)


class ResNet(nn.Module):
    """A strided stem and three basic blocks: identity, down-sampling, identity."""

    def __init__(self, shortcut="projection"):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16)
        self.block1 = Block(16, 16, 1, shortcut)
        self.block2 = Block(16, 32, 2, shortcut)
        self.block3 = Block(32, 32, 1, shortcut)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(32, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.block3(self.block2(self.block1(x)))
        return self.fc(self.pool(x).flatten(1))
