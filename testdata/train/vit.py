"""Small vision transformers: every row of an image is a token.

All map float [N,1,28,28] to logits [N,10]. How attention is written differs from
exporter to exporter and from author to author; a network can be rewritten from one
form into another without changing what it computes (see Transformer.rewrite).
"""
import copy
import math

import torch
import torch.nn.functional as F
from torch import nn

ROWS = 28


class Separate(nn.Module):
    """Self-attention with a Linear for each of query, key and value."""

    def __init__(self, d, heads, size):
        super().__init__()
        self.heads, self.size = heads, size
        self.query = nn.Linear(d, heads * size)
        self.key = nn.Linear(d, heads * size)
        self.value = nn.Linear(d, heads * size)
        self.out = nn.Linear(heads * size, d)

    def split(self, x):
        return x.view(x.size(0), x.size(1), self.heads, self.size).transpose(1, 2)

    def forward(self, x):
        q, k, v = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        a = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(self.size), dim=-1)
        y = (a @ v).transpose(1, 2)
        return self.out(y.reshape(x.size(0), x.size(1), self.heads * self.size))


class Packed(nn.Module):
    """One Linear for query, key and value, unpacked by a reshape to (3, heads, size), as timm writes it."""

    def __init__(self, d, heads, size):
        super().__init__()
        self.heads, self.size = heads, size
        self.qkv = nn.Linear(d, 3 * heads * size)
        self.out = nn.Linear(heads * size, d)

    def unpack(self, x):
        y = self.qkv(x).view(x.size(0), x.size(1), 3, self.heads, self.size).permute(2, 0, 3, 1, 4)
        return y[0], y[1], y[2]

    def forward(self, x):
        q, k, v = self.unpack(x)
        a = torch.softmax((q * self.size ** -0.5) @ k.transpose(-2, -1), dim=-1)
        y = (a @ v).transpose(1, 2)
        return self.out(y.reshape(x.size(0), x.size(1), self.heads * self.size))


class Chunked(Packed):
    """The same parameters, unpacked by a Split, as GPT-2 and BERT ports write it."""

    def unpack(self, x):
        def split(y):
            return y.view(x.size(0), x.size(1), self.heads, self.size).transpose(1, 2)
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return split(q), split(k), split(v)


class Library(nn.Module):
    """torch.nn.MultiheadAttention: packed weights, batch and heads in one axis."""

    def __init__(self, d, heads, size):
        super().__init__()
        assert d == heads * size
        self.mha = nn.MultiheadAttention(d, heads, batch_first=True)

    def forward(self, x):
        # With weights asked for, PyTorch 1.13 takes the path that its exporter knows.
        return self.mha(x, x, x, need_weights=True)[0]


FORMS = {"separate": Separate, "packed": Packed, "chunked": Chunked, "library": Library}


class Layer(nn.Module):
    def __init__(self, d, heads, size, hidden, form, pre):
        super().__init__()
        self.pre = pre
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attention = FORMS[form](d, heads, size)
        self.fc1, self.fc2 = nn.Linear(d, hidden), nn.Linear(hidden, d)

    def forward(self, x):
        if self.pre:
            x = x + self.attention(self.norm1(x))
            return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))
        x = self.norm1(x + self.attention(x))
        return self.norm2(x + self.fc2(F.gelu(self.fc1(x))))


class Transformer(nn.Module):
    def __init__(self, d=64, heads=4, hidden=128, layers=3, form="packed", pre=True, size=None):
        super().__init__()
        size = size or d // heads
        self.embed = nn.Linear(ROWS, d)
        self.position = nn.Parameter(0.02 * torch.randn(ROWS, d))
        self.layers = nn.ModuleList(Layer(d, heads, size, hidden, form, pre) for _ in range(layers))
        self.norm = nn.LayerNorm(d) if pre else nn.Identity()
        self.head = nn.Linear(d, 10)

    def forward(self, x):
        x = self.embed(x.squeeze(1)) + self.position
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x).mean(dim=1))

    @torch.no_grad()
    def rewrite(self, form):
        """Return the same network with attention written in another form. Only from "packed"."""
        net = copy.deepcopy(self)
        for layer in net.layers:
            old = layer.attention
            new = FORMS[form](old.out.out_features, old.heads, old.size)
            if form == "library":
                new.mha.in_proj_weight.copy_(old.qkv.weight)
                new.mha.in_proj_bias.copy_(old.qkv.bias)
                new.mha.out_proj.load_state_dict(old.out.state_dict())
            elif form == "separate":
                for part, w, b in zip((new.query, new.key, new.value), old.qkv.weight.chunk(3), old.qkv.bias.chunk(3)):
                    part.weight.copy_(w)
                    part.bias.copy_(b)
                new.out.load_state_dict(old.out.state_dict())
            else:
                new.load_state_dict(old.state_dict())
            layer.attention = new
        return net.eval()
