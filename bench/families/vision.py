"""Small networks in the manner of well-known ones: images, volumes."""
import torch
import torch.nn as nn
import torch.nn.functional as F


def conv_bn(i, o, k=3, s=1, g=1, act=nn.ReLU, bias=False, d=1):
    layers = [nn.Conv2d(i, o, k, s, d * (k // 2), d, g, bias), nn.BatchNorm2d(o)]
    return nn.Sequential(*layers, *([act()] if act else []))


class Head(nn.Module):
    def __init__(self, c, classes=10, drop=0.2):
        super().__init__()
        self.drop, self.fc = nn.Dropout(drop), nn.Linear(c, classes)

    def forward(self, x):
        return self.fc(self.drop(x.mean([2, 3])))


class SE(nn.Module):
    def __init__(self, c, r, gate=nn.Hardsigmoid, act=nn.ReLU):
        super().__init__()
        self.pool, self.a, self.b, self.act, self.gate = nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, r, 1), nn.Conv2d(r, c, 1), act(), gate()

    def forward(self, x):
        return x * self.gate(self.b(self.act(self.a(self.pool(x)))))


class InvertedResidual(nn.Module):
    def __init__(self, i, o, k, s, t, act=nn.ReLU6, se=None):
        super().__init__()
        h = i * t
        layers = [conv_bn(i, h, 1, act=act)] if t != 1 else []
        layers += [conv_bn(h, h, k, s, h, act=act)]
        if se:
            layers += [se(h)]
        layers += [conv_bn(h, o, 1, act=None)]
        self.body, self.skip = nn.Sequential(*layers), i == o and s == 1

    def forward(self, x):
        return x + self.body(x) if self.skip else self.body(x)


def mobilenet_v2():
    return nn.Sequential(conv_bn(3, 16, s=2, act=nn.ReLU6), InvertedResidual(16, 8, 3, 1, 1), InvertedResidual(8, 12, 3, 2, 6), InvertedResidual(12, 12, 3, 1, 6),
                         InvertedResidual(12, 20, 3, 2, 6), InvertedResidual(20, 20, 3, 1, 6), conv_bn(20, 64, 1, act=nn.ReLU6), Head(64))


def mobilenet_v3():
    hs, se = nn.Hardswish, lambda c: SE(c, max(c // 4, 8))
    return nn.Sequential(conv_bn(3, 16, s=2, act=hs), InvertedResidual(16, 16, 3, 2, 1, nn.ReLU, se), InvertedResidual(16, 24, 3, 2, 4, nn.ReLU),
                         InvertedResidual(24, 24, 5, 1, 4, hs, se), InvertedResidual(24, 40, 5, 2, 4, hs, se), conv_bn(40, 96, 1, act=hs),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(96, 64), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(64, 10))


def efficientnet():
    si, se = nn.SiLU, lambda c: SE(c, max(c // 8, 4), nn.Sigmoid, nn.SiLU)
    return nn.Sequential(conv_bn(3, 16, s=2, act=si), InvertedResidual(16, 12, 3, 1, 1, si, se), InvertedResidual(12, 16, 5, 2, 6, si, se),
                         InvertedResidual(16, 16, 5, 1, 6, si, se), conv_bn(16, 64, 1, act=si), Head(64))


class ShuffleUnit(nn.Module):
    def __init__(self, i, o, s):
        super().__init__()
        h = o // 2
        self.s = s
        if s == 2:
            self.left = nn.Sequential(conv_bn(i, i, 3, 2, i, None), conv_bn(i, h, 1))
        self.right = nn.Sequential(conv_bn(i if s == 2 else i // 2, h, 1), conv_bn(h, h, 3, s, h, None), conv_bn(h, h, 1))

    def forward(self, x):
        if self.s == 2:
            y = torch.cat([self.left(x), self.right(x)], 1)
        else:
            a, b = x.chunk(2, 1)
            y = torch.cat([a, self.right(b)], 1)
        n, c, h, w = y.size()
        return y.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, -1, h, w)


def shufflenet_v2():
    return nn.Sequential(conv_bn(3, 12, s=2), ShuffleUnit(12, 24, 2), ShuffleUnit(24, 24, 1), ShuffleUnit(24, 24, 1), ShuffleUnit(24, 48, 2), ShuffleUnit(48, 48, 1),
                         conv_bn(48, 64, 1), Head(64))


class GatherShuffle(nn.Module):
    """ShuffleNet's first version: grouped 1x1 convolutions, the shuffle an index (as some converters write it)."""

    def __init__(self, c, g):
        super().__init__()
        self.a, self.dw, self.b = conv_bn(c, c, 1, g=g), conv_bn(c, c, 3, g=c, act=None), conv_bn(c, c, 1, g=g, act=None)
        self.register_buffer("index", torch.arange(c).view(g, c // g).t().reshape(-1))

    def forward(self, x):
        return F.relu(x + self.b(self.dw(torch.index_select(self.a(x), 1, self.index))))


def shufflenet_v1():
    return nn.Sequential(conv_bn(3, 24, s=2), GatherShuffle(24, 3), GatherShuffle(24, 3), Head(24))


class DenseLayer(nn.Module):
    def __init__(self, i, growth):
        super().__init__()
        self.body = nn.Sequential(nn.BatchNorm2d(i), nn.ReLU(), nn.Conv2d(i, 4 * growth, 1, bias=False), nn.BatchNorm2d(4 * growth), nn.ReLU(),
                                  nn.Conv2d(4 * growth, growth, 3, 1, 1, bias=False))

    def forward(self, xs):
        return self.body(torch.cat(xs, 1))


class DenseBlock(nn.Module):
    def __init__(self, i, growth, n):
        super().__init__()
        self.layers = nn.ModuleList(DenseLayer(i + k * growth, growth) for k in range(n))

    def forward(self, x):
        xs = [x]
        for layer in self.layers:
            xs.append(layer(xs))
        return torch.cat(xs, 1)


def densenet():
    trans = lambda i, o: nn.Sequential(nn.BatchNorm2d(i), nn.ReLU(), nn.Conv2d(i, o, 1, bias=False), nn.AvgPool2d(2, 2))
    return nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(3, 2, 1), DenseBlock(16, 8, 4), trans(48, 24),
                         DenseBlock(24, 8, 3), nn.BatchNorm2d(48), nn.ReLU(), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(48, 10))


class Fire(nn.Module):
    def __init__(self, i, s, e):
        super().__init__()
        self.s, self.a, self.b = nn.Conv2d(i, s, 1), nn.Conv2d(s, e, 1), nn.Conv2d(s, e, 3, padding=1)

    def forward(self, x):
        x = F.relu(self.s(x))
        return torch.cat([F.relu(self.a(x)), F.relu(self.b(x))], 1)


def squeezenet():
    return nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True), Fire(16, 8, 16), Fire(32, 8, 16), nn.MaxPool2d(3, 2, ceil_mode=True),
                         Fire(32, 12, 24), nn.Dropout(), nn.Conv2d(48, 10, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Bottleneck(nn.Module):
    def __init__(self, i, h, o, s, g=1, se=False):
        super().__init__()
        self.body = nn.Sequential(conv_bn(i, h, 1), conv_bn(h, h, 3, s, g), *([SE(h, h // 4, nn.Sigmoid)] if se else []), conv_bn(h, o, 1, act=None))
        self.skip = conv_bn(i, o, 1, s, act=None) if i != o or s != 1 else nn.Identity()

    def forward(self, x):
        return F.relu(self.body(x) + self.skip(x))


def resnext():
    return nn.Sequential(conv_bn(3, 16, 7, 2), nn.MaxPool2d(3, 2, 1), Bottleneck(16, 32, 48, 1, 8), Bottleneck(48, 32, 48, 1, 8), Bottleneck(48, 64, 64, 2, 8), Head(64))


def regnet():
    return nn.Sequential(conv_bn(3, 16, 3, 2), Bottleneck(16, 24, 24, 2, 3, True), Bottleneck(24, 24, 24, 1, 3, True), Bottleneck(24, 48, 48, 2, 6, True), Head(48))


class LayerNorm2d(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.dw, self.norm, self.a, self.b = nn.Conv2d(c, c, 7, 1, 3, groups=c), nn.LayerNorm(c, eps=1e-6), nn.Linear(c, 4 * c), nn.Linear(4 * c, c)
        self.scale = nn.Parameter(torch.rand(c))

    def forward(self, x):
        y = self.scale * self.b(F.gelu(self.a(self.norm(self.dw(x).permute(0, 2, 3, 1)))))
        return x + y.permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 16, 4, 4), LayerNorm2d(16), ConvNeXtBlock(16), ConvNeXtBlock(16), LayerNorm2d(16), nn.Conv2d(16, 32, 2, 2),
                                  ConvNeXtBlock(32))
        self.norm, self.fc = nn.LayerNorm(32), nn.Linear(32, 10)

    def forward(self, x):
        return self.fc(self.norm(self.body(x).mean([-2, -1])))


class Inception(nn.Module):
    def __init__(self, i):
        super().__init__()
        self.b1, self.b2 = conv_bn(i, 8, 1), nn.Sequential(conv_bn(i, 6, 1), conv_bn(6, 8, 5))
        self.b3 = nn.Sequential(conv_bn(i, 6, 1), nn.Conv2d(6, 9, (1, 3), padding=(0, 1)), nn.ReLU(), nn.Conv2d(9, 9, (3, 1), padding=(1, 0)), nn.ReLU())
        self.b4 = nn.Sequential(nn.AvgPool2d(3, 1, 1), conv_bn(i, 7, 1))

    def forward(self, x):
        return torch.cat([self.b1(x), self.b2(x), self.b3(x), self.b4(x)], 1)


def inception():
    return nn.Sequential(conv_bn(3, 12, s=2), Inception(12), nn.MaxPool2d(3, 2), Inception(32), Head(32))


class UNet(nn.Module):
    def __init__(self, up):
        super().__init__()
        block = lambda i, o: nn.Sequential(conv_bn(i, o), conv_bn(o, o))
        self.d1, self.d2, self.mid = block(3, 8), block(8, 16), block(16, 32)
        if up == "transpose":
            self.u2, self.u1 = nn.ConvTranspose2d(32, 16, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)
        elif up == "resize":
            self.u2 = nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), nn.Conv2d(32, 16, 1))
            self.u1 = nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(16, 8, 1))
        else:
            self.u2, self.u1 = nn.Conv2d(32, 16, 1), nn.Conv2d(16, 8, 1)
        self.up = up
        self.c2, self.c1, self.out = block(32, 16), block(16, 8), nn.Conv2d(8, 2, 1)

    def grow(self, f, x, like):
        if self.up == "size":  # to the size of the skip, as segmentation heads do
            x = F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)
        return torch.cat([like, f(x)], 1)

    def forward(self, x):
        a = self.d1(x)
        b = self.d2(F.max_pool2d(a, 2))
        c = self.mid(F.max_pool2d(b, 2))
        y = self.c2(self.grow(self.u2, c, b))
        return self.out(self.c1(self.grow(self.u1, y, a)))


class FPN(nn.Module):
    """Detector with a shared head on three levels, and outputs of boxes, scores and features."""

    def __init__(self):
        super().__init__()
        self.s1, self.s2, self.s3 = conv_bn(3, 12, s=2), conv_bn(12, 20, s=2), conv_bn(20, 28, s=2)
        self.l1, self.l2, self.l3 = nn.Conv2d(12, 16, 1), nn.Conv2d(20, 16, 1), nn.Conv2d(28, 16, 1)
        self.smooth = nn.Conv2d(16, 16, 3, 1, 1)
        self.tower, self.cls, self.box = conv_bn(16, 16), nn.Conv2d(16, 3 * 5, 1), nn.Conv2d(16, 3 * 4, 1)

    def forward(self, x):
        c1 = self.s1(x)
        c2 = self.s2(c1)
        c3 = self.s3(c2)
        p3 = self.l3(c3)
        p2 = self.l2(c2) + F.interpolate(p3, scale_factor=2.0, mode="nearest")
        p1 = self.l1(c1) + F.interpolate(p2, size=c1.shape[-2:], mode="nearest")
        scores, boxes = [], []
        for p in (p1, p2, p3):
            t = self.tower(self.smooth(p))
            s, b = self.cls(t), self.box(t)
            n, _, h, w = s.shape
            scores.append(s.view(n, 3, 5, h, w).permute(0, 3, 4, 1, 2).reshape(n, -1, 5))
            boxes.append(b.permute(0, 2, 3, 1).reshape(n, -1, 4))
        return torch.cat(scores, 1).softmax(-1), torch.cat(boxes, 1), p3


class C2f(nn.Module):
    def __init__(self, i, o, n):
        super().__init__()
        self.c = o // 2
        self.a, self.b = conv_bn(i, 2 * self.c, 1, act=nn.SiLU), conv_bn((2 + n) * self.c, o, 1, act=nn.SiLU)
        self.m = nn.ModuleList(nn.Sequential(conv_bn(self.c, self.c, act=nn.SiLU), conv_bn(self.c, self.c, act=nn.SiLU)) for _ in range(n))

    def forward(self, x):
        y = list(self.a(x).split((self.c, self.c), 1))
        for m in self.m:
            y.append(y[-1] + m(y[-1]))
        return self.b(torch.cat(y, 1))


class YOLO(nn.Module):
    """Focus by slices, C2f by Split, SPPF, distribution focal loss by Softmax and a fixed convolution."""

    def __init__(self, bins=8, classes=4):
        super().__init__()
        self.bins, self.classes = bins, classes
        self.stem, self.c1, self.d, self.c2 = conv_bn(12, 16, act=nn.SiLU), C2f(16, 16, 1), conv_bn(16, 32, s=2, act=nn.SiLU), C2f(32, 32, 2)
        self.p1, self.p2 = conv_bn(32, 16, 1, act=nn.SiLU), conv_bn(64, 32, 1, act=nn.SiLU)
        self.up = C2f(32 + 16, 16, 1)
        self.box = nn.ModuleList(nn.Sequential(conv_bn(c, 16, act=nn.SiLU), nn.Conv2d(16, 4 * bins, 1)) for c in (16, 32))
        self.cls = nn.ModuleList(nn.Sequential(conv_bn(c, 16, act=nn.SiLU), nn.Conv2d(16, classes, 1)) for c in (16, 32))
        self.dfl = nn.Conv2d(bins, 1, 1, bias=False)
        self.dfl.weight.data[:] = torch.arange(bins).float().view(1, bins, 1, 1)

    def forward(self, x):
        x = torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1)
        a = self.c1(self.stem(x))
        b = self.c2(self.d(a))
        y = self.p1(b)
        y = torch.cat([y] + [F.max_pool2d(y, k, 1, k // 2) for k in (3, 5, 7)], 1)
        b = self.p2(y)
        a = self.up(torch.cat([F.interpolate(b, scale_factor=2.0), a], 1))
        out = [torch.cat([self.box[i](p), self.cls[i](p)], 1) for i, p in enumerate((a, b))]
        n = x.shape[0]
        y = torch.cat([o.view(n, 4 * self.bins + self.classes, -1) for o in out], 2)
        box, cls = y.split((4 * self.bins, self.classes), 1)
        box = self.dfl(box.view(n, 4, self.bins, -1).transpose(2, 1).softmax(1)).view(n, 4, -1)
        lt, rb = box.chunk(2, 1)
        return torch.cat([(rb - lt) / 2, lt + rb, cls.sigmoid()], 1)


class GhostNet(nn.Module):
    """Cheap features beside the real ones: x and a depthwise copy of it, concatenated and cut."""

    def __init__(self, i=3):
        super().__init__()
        self.stem, self.a, self.cheap, self.b, self.cheap2, self.head = conv_bn(i, 16, s=2), conv_bn(16, 10, 1), conv_bn(10, 10, 3, g=10), conv_bn(20, 8, 1), conv_bn(8, 8, 3, g=8, act=None), Head(16)

    def forward(self, x):
        x = self.stem(x)
        y = self.a(x)
        y = torch.cat([y, self.cheap(y)], 1)[:, :20]
        z = self.b(y)
        return self.head(x + torch.cat([z, self.cheap2(z)], 1)[:, :16, :, :])


class GroupNormNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.n1, self.b, self.n2, self.c = nn.Conv2d(3, 16, 3, 2, 1), nn.GroupNorm(4, 16), nn.Conv2d(16, 24, 3, 1, 1), nn.InstanceNorm2d(24, affine=True), nn.Conv2d(24, 16, 3, 1, 1)
        self.n3, self.fc = nn.GroupNorm(1, 16), nn.Linear(16, 10)

    def forward(self, x):
        x = F.relu(self.n1(self.a(x)))
        y = F.leaky_relu(self.n2(self.b(x)), 0.1)
        return self.fc((x + F.relu(self.n3(self.c(y)))).mean([2, 3]))


class Style(nn.Module):
    """Style transfer: reflection pads, instance norm without parameters, upsampling, PReLU, tanh."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.ReflectionPad2d(2), nn.Conv2d(3, 12, 5), nn.InstanceNorm2d(12), nn.PReLU(12), nn.Conv2d(12, 24, 3, 2, 1), nn.InstanceNorm2d(24), nn.PReLU(),
                                 nn.Upsample(scale_factor=2), nn.ReflectionPad2d(1), nn.Conv2d(24, 12, 3), nn.InstanceNorm2d(12), nn.ReLU(), nn.Conv2d(12, 3, 3, padding=1), nn.Tanh())

    def forward(self, x):
        return self.net(x)


class ESPCN(nn.Module):
    """Super-resolution: PixelShuffle, and the input added at the end."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1), nn.LeakyReLU(0.1), nn.Conv2d(16, 16, 3, 1, 1), nn.LeakyReLU(0.1), nn.Conv2d(16, 8 * 4, 3, 1, 1), nn.PixelShuffle(2), nn.Conv2d(8, 3, 3, 1, 1))

    def forward(self, x):
        return self.net(x) + F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class Video(nn.Module):
    """(2+1)-D and 3-D convolutions."""

    def __init__(self):
        super().__init__()
        self.a = nn.Sequential(nn.Conv3d(3, 12, (1, 3, 3), (1, 2, 2), (0, 1, 1)), nn.BatchNorm3d(12), nn.ReLU(), nn.Conv3d(12, 16, (3, 1, 1), padding=(1, 0, 0)), nn.BatchNorm3d(16), nn.ReLU())
        self.b, self.pool, self.fc = nn.Sequential(nn.Conv3d(16, 16, 3, 1, 1, bias=False), nn.BatchNorm3d(16)), nn.MaxPool3d(2), nn.Linear(16, 10)

    def forward(self, x):
        x = self.a(x)
        return self.fc(self.pool(F.relu(x + self.b(x))).mean([2, 3, 4]))


class VAE(nn.Module):
    """Encoder, mean and deviation, decoder; sampling replaced by a given noise."""

    def __init__(self):
        super().__init__()
        self.e = nn.Sequential(nn.Conv2d(3, 12, 4, 2, 1), nn.ReLU(), nn.Conv2d(12, 16, 4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 64, 48), nn.ReLU())
        self.mean, self.logvar, self.d = nn.Linear(48, 8), nn.Linear(48, 8), nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 16 * 64), nn.ReLU())
        self.up = nn.Sequential(nn.ConvTranspose2d(16, 12, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(12, 3, 4, 2, 1), nn.Sigmoid())

    def forward(self, x, noise):
        h = self.e(x)
        mean, logvar = self.mean(h), self.logvar(h)
        z = mean + noise * torch.exp(0.5 * logvar)
        return self.up(self.d(z).view(-1, 16, 8, 8)), mean, logvar


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(conv_bn(3, 12, s=2), conv_bn(12, 16, s=2), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16))

    def forward(self, a, b):
        a, b = F.normalize(self.f(a), dim=1), F.normalize(self.f(b), dim=1)
        return (a * b).sum(1), torch.norm(a - b, dim=1)


class TwoTower(nn.Module):
    """An image and a vector, two answers."""

    def __init__(self):
        super().__init__()
        self.image, self.vector = nn.Sequential(conv_bn(3, 12, s=2), conv_bn(12, 20, s=2), nn.AdaptiveMaxPool2d(1)), nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU())
        self.joint, self.a, self.b = nn.Linear(60, 24), nn.Linear(24, 10), nn.Linear(24, 1)

    def forward(self, x, v):
        i, v = self.image(x).flatten(1), self.vector(v)
        h = F.elu(self.joint(torch.cat([i, v, i * v], 1)))
        return F.log_softmax(self.a(h), 1), torch.sigmoid(self.b(h)).squeeze(1)


class WeightNormed(nn.Module):
    def __init__(self):
        super().__init__()
        wn = nn.utils.weight_norm
        self.net = nn.Sequential(wn(nn.Conv2d(3, 12, 3, 2, 1)), nn.ELU(), wn(nn.Conv2d(12, 16, 3, 2, 1)), nn.ELU(), nn.Flatten(), wn(nn.Linear(16 * 64, 32)), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, x):
        return self.net(x)


class Depth(nn.Module):
    """Atrous spatial pyramid with a pooled branch spread over space, and CBAM's spatial attention (mean and maximum over channels)."""

    def __init__(self):
        super().__init__()
        self.stem = conv_bn(3, 16, s=2)
        self.branches = nn.ModuleList([conv_bn(16, 8, 1)] + [conv_bn(16, 8, 3, d=d) for d in (2, 3)])
        self.pool, self.join, self.spatial, self.out = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 8, 1), nn.ReLU()), conv_bn(32, 16, 1), nn.Conv2d(2, 1, 7, padding=3), nn.Conv2d(16, 1, 1)

    def forward(self, x):
        size = x.shape[-2:]
        x = self.stem(x)
        p = self.pool(x).expand(-1, -1, x.shape[2], x.shape[3])
        x = self.join(torch.cat([b(x) for b in self.branches] + [p], 1))
        m = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], 1)
        return F.interpolate(self.out(x * torch.sigmoid(self.spatial(m))), size=size, mode="bilinear", align_corners=True)


class SKNet(nn.Module):
    """Selective kernels: softmax over branches, one weight for each channel and branch."""

    def __init__(self):
        super().__init__()
        self.stem, self.a, self.b = conv_bn(3, 16, s=2), conv_bn(16, 16, 3), conv_bn(16, 16, 3, d=2)
        self.f, self.g, self.head = nn.Linear(16, 8), nn.Linear(8, 32), Head(16)

    def forward(self, x):
        x = self.stem(x)
        y = torch.stack([self.a(x), self.b(x)], 1)
        w = self.g(F.relu(self.f(y.sum(1).mean([2, 3])))).view(-1, 2, 16).softmax(1)
        return self.head((y * w[..., None, None]).sum(1))


class Flat(nn.Module):
    """A plain convolutional net with a Flatten by view, local response norm and many layers behind."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.lrn = nn.Conv2d(3, 12, 5, 2), nn.Conv2d(12, 16, 5, 2, groups=2), nn.LocalResponseNorm(3)
        self.f1, self.f2, self.f3 = nn.Linear(16 * 25, 48), nn.Linear(48, 32), nn.Linear(32, 10)

    def forward(self, x):
        x = F.relu(self.b(F.max_pool2d(F.relu(self.a(x)), 1)))
        x = x.view(x.size(0), -1)
        return self.f3(F.dropout(F.relu(self.f2(F.relu(self.f1(x)))), 0.5, self.training))


IMAGE = lambda s=32: {"image": (3, s, s)}
FAMILIES = {
    "mobilenet_v2": (mobilenet_v2, IMAGE()), "mobilenet_v3": (mobilenet_v3, IMAGE()), "efficientnet": (efficientnet, IMAGE()),
    "shufflenet_v2": (shufflenet_v2, IMAGE()), "shufflenet_v1": (shufflenet_v1, IMAGE()), "densenet": (densenet, IMAGE()),
    "squeezenet": (squeezenet, IMAGE()), "resnext": (resnext, IMAGE()), "regnet": (regnet, IMAGE()), "convnext": (ConvNeXt, IMAGE()),
    "inception": (inception, IMAGE()), "unet_transpose": (lambda: UNet("transpose"), IMAGE()), "unet_resize": (lambda: UNet("resize"), IMAGE()),
    "unet_size": (lambda: UNet("size"), IMAGE()), "fpn": (FPN, IMAGE()), "yolo": (YOLO, IMAGE()), "ghostnet": (GhostNet, IMAGE()),
    "groupnorm": (GroupNormNet, IMAGE()), "style": (Style, IMAGE()), "espcn": (ESPCN, IMAGE(16)), "video": (Video, {"clip": (3, 4, 16, 16)}),
    "vae": (VAE, {"image": (3, 32, 32), "noise": (8,)}), "siamese": (Siamese, {"left": (3, 32, 32), "right": (3, 32, 32)}),
    "two_tower": (TwoTower, {"image": (3, 32, 32), "vector": (6,)}), "weight_norm": (WeightNormed, IMAGE()), "aspp_cbam": (Depth, IMAGE()),
    "sknet": (SKNet, IMAGE()), "alexnet": (Flat, IMAGE()),
}
