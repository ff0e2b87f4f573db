"""Small networks in the manner of well-known ones: text, sound, time series."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


class CRNN(nn.Module):
    def __init__(self):
        super().__init__()
        conv = lambda i, o: nn.Sequential(nn.Conv2d(i, o, 3, 1, 1), nn.BatchNorm2d(o), nn.ReLU())
        self.cnn = nn.Sequential(conv(1, 8), nn.MaxPool2d(2), conv(8, 12), nn.MaxPool2d((2, 1)), conv(12, 16), nn.MaxPool2d((4, 1)))
        self.rnn, self.fc = nn.LSTM(16, 12, 2, bidirectional=True), nn.Linear(24, 11)

    def forward(self, x):
        x = self.cnn(x).squeeze(2).permute(2, 0, 1)
        return self.fc(self.rnn(x)[0]).log_softmax(2).transpose(0, 1)


class Recurrent(nn.Module):
    """GRU encoder, its last state, a decoder that starts from it; additive attention."""

    def __init__(self):
        super().__init__()
        self.emb, self.enc, self.dec = nn.Embedding(20, 12), nn.GRU(12, 16, batch_first=True), nn.GRU(12, 16, batch_first=True)
        self.q, self.k, self.v, self.out = nn.Linear(16, 10), nn.Linear(16, 10), nn.Linear(10, 1), nn.Linear(32, 20)

    def forward(self, src, dst):
        h, state = self.enc(self.emb(src))
        d, _ = self.dec(self.emb(dst), state)
        a = self.v(torch.tanh(self.q(d).unsqueeze(2) + self.k(h).unsqueeze(1))).squeeze(-1).softmax(-1)
        return self.out(torch.cat([d, a @ h], -1))


class LSTMTagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb, self.rnn, self.a, self.out = nn.Embedding(30, 12), nn.LSTM(12, 10, batch_first=True, bidirectional=True), nn.Linear(20, 14), nn.Linear(14, 5)

    def forward(self, ids):
        y, (h, c) = self.rnn(self.emb(ids))
        return self.out(F.relu(self.a(y))), torch.cat([h[-2], h[-1]], 1)


class Attention(nn.Module):
    def __init__(self, d, heads, packed, causal=False, bias=True):
        super().__init__()
        self.h, self.packed, self.causal = heads, packed, causal
        if packed:
            self.c_attn = nn.Linear(d, 3 * d, bias)
        else:
            self.q, self.k, self.v = nn.Linear(d, d, bias), nn.Linear(d, d, bias), nn.Linear(d, d, bias)
        self.proj = nn.Linear(d, d, bias)
        if causal:
            self.register_buffer("mask", torch.tril(torch.ones(32, 32)).view(1, 1, 32, 32))

    def forward(self, x, mask=None):
        b, t, d = x.size()
        if self.packed:
            q, k, v = self.c_attn(x).split(d, dim=2)
        else:
            q, k, v = self.q(x), self.k(x), self.v(x)
        q, k, v = (y.view(b, t, self.h, d // self.h).transpose(1, 2) for y in (q, k, v))
        s = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        if self.causal:
            s = s.masked_fill(self.mask[:, :, :t, :t] == 0, float("-inf"))
        if mask is not None:
            s = s + mask
        y = s.softmax(-1) @ v
        return self.proj(y.transpose(1, 2).contiguous().view(b, t, d))


class Encoder(nn.Module):
    """nn.TransformerEncoder, post-norm or pre-norm, the library's own attention."""

    def __init__(self, pre):
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 48, dropout=0.1, batch_first=True, norm_first=pre, activation="gelu" if pre else "relu")
        self.inp, self.enc, self.out = nn.Linear(6, 32), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(32, 10)
        self.pos = nn.Parameter(torch.randn(1, 12, 32) * 0.1)

    def forward(self, x):
        return self.out(self.enc(self.inp(x) + self.pos).mean(1))


class LibraryEncoderDecoder(nn.Module):
    """nn.Transformer with cross-attention and a causal mask; time first."""

    def __init__(self):
        super().__init__()
        self.t = nn.Transformer(24, 3, 1, 1, 40, 0.0)
        self.emb, self.out = nn.Embedding(20, 24), nn.Linear(24, 20)
        self.register_buffer("mask", torch.triu(torch.full((8, 8), float("-inf")), 1))

    def forward(self, src, dst):
        y = self.t(self.emb(src).transpose(0, 1), self.emb(dst).transpose(0, 1), tgt_mask=self.mask)
        return self.out(y.transpose(0, 1))


class NewGELU(nn.Module):
    def forward(self, x):
        return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))


class GPT(nn.Module):
    """Packed attention, causal mask in a buffer, tanh GELU, tied embedding, learned positions."""

    def __init__(self, tied=True):
        super().__init__()
        d, self.layers = 32, nn.ModuleList()
        self.wte, self.wpe = nn.Embedding(40, d), nn.Embedding(32, d)
        for _ in range(2):
            self.layers.append(nn.ModuleList([nn.LayerNorm(d), Attention(d, 4, True, True), nn.LayerNorm(d), nn.Linear(d, 4 * d), NewGELU(), nn.Linear(4 * d, d)]))
        self.ln, self.head = nn.LayerNorm(d), nn.Linear(d, 40, bias=False)
        if tied:
            self.head.weight = self.wte.weight

    def forward(self, ids):
        x = self.wte(ids) + self.wpe(torch.arange(0, ids.size(1), dtype=torch.long, device=ids.device).unsqueeze(0))
        for n1, att, n2, up, act, down in self.layers:
            x = x + att(n1(x))
            x = x + down(act(up(n2(x))))
        return self.head(self.ln(x))


class BERT(nn.Module):
    """Words, positions, token types; a mask from the input; post-norm; pooled and token outputs."""

    def __init__(self):
        super().__init__()
        d = 32
        self.word, self.pos, self.kind, self.ln = nn.Embedding(40, d), nn.Embedding(16, d), nn.Embedding(2, d), nn.LayerNorm(d, eps=1e-12)
        self.layers = nn.ModuleList(nn.ModuleList([Attention(d, 4, False), nn.LayerNorm(d, eps=1e-12), nn.Linear(d, 64), nn.Linear(64, d), nn.LayerNorm(d, eps=1e-12)]) for _ in range(2))
        self.pool, self.cls, self.tag = nn.Linear(d, d), nn.Linear(d, 3), nn.Linear(d, 7)
        self.register_buffer("ids", torch.arange(16).unsqueeze(0))

    def forward(self, input_ids, token_type_ids, attention_mask):
        t = input_ids.size(1)
        x = self.ln(self.word(input_ids) + self.kind(token_type_ids) + self.pos(self.ids[:, :t]))
        mask = (attention_mask[:, None, None, :].float() - 1.0) * 10000.0
        for att, n1, up, down, n2 in self.layers:
            x = n1(x + att(x, mask))
            x = n2(x + down(F.gelu(up(x))))
        return self.cls(torch.tanh(self.pool(x[:, 0]))), self.tag(x)


class Window(nn.Module):
    """Window attention with shift and relative position bias."""

    def __init__(self, d, heads, shift, size=8, win=4):
        super().__init__()
        self.d, self.h, self.shift, self.size, self.win = d, heads, shift, size, win
        self.n1, self.qkv, self.proj, self.n2, self.up, self.down = nn.LayerNorm(d), nn.Linear(d, 3 * d), nn.Linear(d, d), nn.LayerNorm(d), nn.Linear(d, 2 * d), nn.Linear(2 * d, d)
        self.table = nn.Parameter(torch.randn((2 * win - 1) ** 2, heads) * 0.2)
        c = torch.stack(torch.meshgrid(torch.arange(win), torch.arange(win), indexing="ij")).flatten(1)
        r = (c[:, :, None] - c[:, None, :]).permute(1, 2, 0) + win - 1
        self.register_buffer("index", r[..., 0] * (2 * win - 1) + r[..., 1])

    def forward(self, x):
        s, w, h, d = self.size, self.win, self.h, self.d
        b = x.shape[0]
        skip = x
        x = self.n1(x).view(b, s, s, d)
        if self.shift:
            x = torch.roll(x, (-2, -2), (1, 2))
        x = x.view(b, s // w, w, s // w, w, d).permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, w * w, d)
        n = x.shape[0]
        q, k, v = self.qkv(x).reshape(n, w * w, 3, h, d // h).permute(2, 0, 3, 1, 4).unbind(0)
        a = (q * (d // h) ** -0.5) @ k.transpose(-2, -1)
        bias = self.table[self.index.view(-1)].view(w * w, w * w, h).permute(2, 0, 1).contiguous()
        a = (a + bias.unsqueeze(0)).softmax(-1)
        x = self.proj((a @ v).transpose(1, 2).reshape(n, w * w, d))
        x = x.view(-1, s // w, s // w, w, w, d).permute(0, 1, 3, 2, 4, 5).contiguous().view(b, s, s, d)
        if self.shift:
            x = torch.roll(x, (2, 2), (1, 2))
        x = skip + x.view(b, s * s, d)
        return x + self.down(F.gelu(self.up(self.n2(x))))


class Swin(nn.Module):
    def __init__(self):
        super().__init__()
        d = 24
        self.patch, self.a, self.b = nn.Conv2d(3, d, 4, 4), Window(d, 3, False), Window(d, 3, True)
        self.mn, self.merge = nn.LayerNorm(4 * d), nn.Linear(4 * d, 2 * d, bias=False)
        self.c, self.norm, self.fc = Window(2 * d, 3, False, 4), nn.LayerNorm(2 * d), nn.Linear(2 * d, 10)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = self.b(self.a(x))
        b = x.shape[0]
        x = x.view(b, 8, 8, -1)
        x = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], -1).view(b, 16, -1)
        x = self.c(self.merge(self.mn(x)))
        return self.fc(self.norm(x).mean(1))


class ViT(nn.Module):
    """Class token concatenated, packed qkv without Split."""

    def __init__(self):
        super().__init__()
        d, self.h = 32, 4
        self.patch, self.cls, self.pos = nn.Conv2d(3, d, 8, 8), nn.Parameter(torch.randn(1, 1, d)), nn.Parameter(torch.randn(1, 17, d) * 0.2)
        self.layers = nn.ModuleList(nn.ModuleList([nn.LayerNorm(d), nn.Linear(d, 3 * d), nn.Linear(d, d), nn.LayerNorm(d), nn.Linear(d, 64), nn.Linear(64, d)]) for _ in range(2))
        self.norm, self.fc = nn.LayerNorm(d), nn.Linear(d, 10)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.pos
        for n1, qkv, proj, n2, up, down in self.layers:
            b, n, d = x.shape
            y = qkv(n1(x)).reshape(b, n, 3, self.h, d // self.h).permute(2, 0, 3, 1, 4)
            q, k, v = y[0], y[1], y[2]
            a = ((q @ k.transpose(-2, -1)) * (d // self.h) ** -0.5).softmax(-1)
            x = x + proj((a @ v).transpose(1, 2).reshape(b, n, d))
            x = x + down(F.gelu(up(n2(x))))
        return self.fc(self.norm(x)[:, 0])


class Mixer(nn.Module):
    def __init__(self):
        super().__init__()
        d, t = 24, 16
        self.patch = nn.Conv2d(3, d, 8, 8)
        self.layers = nn.ModuleList(nn.ModuleList([nn.LayerNorm(d), nn.Linear(t, 20), nn.Linear(20, t), nn.LayerNorm(d), nn.Linear(d, 48), nn.Linear(48, d)]) for _ in range(2))
        self.norm, self.fc = nn.LayerNorm(d), nn.Linear(d, 10)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        for n1, a, b, n2, c, e in self.layers:
            x = x + b(F.gelu(a(n1(x).transpose(1, 2)))).transpose(1, 2)
            x = x + e(F.gelu(c(n2(x))))
        return self.fc(self.norm(x).mean(1))


class Conformer(nn.Module):
    """Half-step feed-forward, attention, GLU and depthwise convolution."""

    def __init__(self):
        super().__init__()
        d = 24
        self.sub = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
        self.inp = nn.Linear(8 * 4, d)
        ff = lambda: nn.Sequential(nn.LayerNorm(d), nn.Linear(d, 48), nn.SiLU(), nn.Dropout(0.1), nn.Linear(48, d))
        self.f1, self.f2, self.n1, self.att, self.n2 = ff(), ff(), nn.LayerNorm(d), Attention(d, 4, False), nn.LayerNorm(d)
        self.pw1, self.dw, self.bn, self.pw2, self.n3, self.out = nn.Conv1d(d, 2 * d, 1), nn.Conv1d(d, d, 7, padding=3, groups=d), nn.BatchNorm1d(d), nn.Conv1d(d, d, 1), nn.LayerNorm(d), nn.Linear(d, 12)

    def forward(self, x):
        x = self.sub(x.unsqueeze(1))
        b, c, t, f = x.size()
        x = self.inp(x.transpose(1, 2).contiguous().view(b, t, c * f))
        x = x + 0.5 * self.f1(x)
        x = x + self.att(self.n1(x))
        y = F.glu(self.pw1(self.n2(x).transpose(1, 2)), 1)
        x = x + self.pw2(F.silu(self.bn(self.dw(y)))).transpose(1, 2)
        return self.out(self.n3(x + 0.5 * self.f2(x)))


class Whisper(nn.Module):
    """Two 1-D convolutions, sinusoidal positions, encoder blocks, keys without bias."""

    def __init__(self):
        super().__init__()
        d = 32
        self.c1, self.c2 = nn.Conv1d(20, d, 3, padding=1), nn.Conv1d(d, d, 3, 2, 1)
        self.register_buffer("pos", torch.sin(torch.arange(12)[:, None] * torch.exp(-torch.arange(d) / 8.0)[None]))
        self.blocks = nn.ModuleList(nn.ModuleList([nn.LayerNorm(d), nn.Linear(d, d), nn.Linear(d, d, bias=False), nn.Linear(d, d), nn.Linear(d, d), nn.LayerNorm(d), nn.Linear(d, 64), nn.Linear(64, d)]) for _ in range(2))
        self.ln = nn.LayerNorm(d)

    def forward(self, mel):
        x = F.gelu(self.c2(F.gelu(self.c1(mel)))).permute(0, 2, 1)
        x = x + self.pos
        for n1, q, k, v, o, n2, up, down in self.blocks:
            y = n1(x)
            b, t, d = y.shape
            s = (d // 4) ** -0.25
            qq = q(y).view(b, t, 4, -1).permute(0, 2, 1, 3) * s
            kk = k(y).view(b, t, 4, -1).permute(0, 2, 3, 1) * s
            vv = v(y).view(b, t, 4, -1).permute(0, 2, 1, 3)
            w = F.softmax((qq @ kk).float(), dim=-1)
            x = x + o((w @ vv).permute(0, 2, 1, 3).flatten(start_dim=2))
            x = x + down(F.gelu(up(n2(x))))
        return self.ln(x)


class WaveNet(nn.Module):
    """Gated, dilated, causal; skip connections summed."""

    def __init__(self):
        super().__init__()
        self.inp = nn.Conv1d(4, 12, 1)
        self.f = nn.ModuleList(nn.Conv1d(12, 16, 2, dilation=2 ** i) for i in range(3))
        self.g = nn.ModuleList(nn.Conv1d(12, 16, 2, dilation=2 ** i) for i in range(3))
        self.res, self.skip = nn.ModuleList(nn.Conv1d(16, 12, 1) for _ in range(3)), nn.ModuleList(nn.Conv1d(16, 14, 1) for _ in range(3))
        self.o1, self.o2 = nn.Conv1d(14, 14, 1), nn.Conv1d(14, 8, 1)

    def forward(self, x):
        x, total = self.inp(x), 0
        for i in range(3):
            p = F.pad(x, (2 ** i, 0))
            y = torch.tanh(self.f[i](p)) * torch.sigmoid(self.g[i](p))
            x = x + self.res[i](y)
            total = total + self.skip[i](y)
        return self.o2(F.relu(self.o1(F.relu(total))))


class TCN(nn.Module):
    """Weight-normed, padded and cut (Chomp), a residual by 1x1; the last position read."""

    def __init__(self):
        super().__init__()
        wn = nn.utils.weight_norm
        self.a, self.b, self.down = wn(nn.Conv1d(4, 16, 3, padding=2)), wn(nn.Conv1d(16, 16, 3, padding=2)), nn.Conv1d(4, 16, 1)
        self.c, self.d, self.fc = wn(nn.Conv1d(16, 16, 3, padding=4, dilation=2)), wn(nn.Conv1d(16, 16, 3, padding=4, dilation=2)), nn.Linear(16, 5)

    def forward(self, x):
        y = F.relu(self.b(F.relu(self.a(x)[:, :, :-2].contiguous()))[:, :, :-2])
        x = F.relu(y + self.down(x))
        y = F.relu(self.d(F.relu(self.c(x)[:, :, :-4]))[:, :, :-4])
        return self.fc(F.relu(x + y)[:, :, -1])


class ConvTasNet(nn.Module):
    """Learned filter bank, global norm written out, masks for two sources, ConvTranspose1d back."""

    def __init__(self):
        super().__init__()
        self.enc, self.dec = nn.Conv1d(1, 20, 8, 4, bias=False), nn.ConvTranspose1d(20, 1, 8, 4, bias=False)
        self.b, self.c, self.p, self.n, self.d, self.m = nn.Conv1d(20, 12, 1), nn.Conv1d(12, 24, 1), nn.PReLU(), nn.GroupNorm(1, 24), nn.Conv1d(24, 24, 3, padding=1, groups=24), nn.Conv1d(24, 40, 1)

    def forward(self, wave):
        e = F.relu(self.enc(wave.unsqueeze(1)))
        y = self.d(self.n(self.p(self.c(self.b(e)))))
        n, _, t = e.shape
        masks = torch.sigmoid(self.m(y)).view(n, 2, 20, t)
        s = (e.unsqueeze(1) * masks).view(n * 2, 20, t)
        return self.dec(s).view(n, 2, -1)


class RMSNorm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(d) + 0.5)

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


class LLaMA(nn.Module):
    """RMSNorm, rotary positions, grouped queries (keys repeated), SwiGLU."""

    def __init__(self, kv=2):
        super().__init__()
        d, self.h, self.kv, self.dim = 32, 4, kv, 8
        self.emb = nn.Embedding(40, d)
        self.layers = nn.ModuleList(nn.ModuleList([RMSNorm(d), nn.Linear(d, d, bias=False), nn.Linear(d, 8 * kv, bias=False), nn.Linear(d, 8 * kv, bias=False), nn.Linear(d, d, bias=False), RMSNorm(d),
                                                   nn.Linear(d, 56, bias=False), nn.Linear(d, 56, bias=False), nn.Linear(56, d, bias=False)]) for _ in range(2))
        self.norm, self.head = RMSNorm(d), nn.Linear(d, 40, bias=False)
        f = torch.outer(torch.arange(16).float(), 1.0 / 100 ** (torch.arange(0, 8, 2).float() / 8))
        self.register_buffer("cos", torch.cat([f, f], -1).cos())
        self.register_buffer("sin", torch.cat([f, f], -1).sin())
        self.register_buffer("mask", torch.triu(torch.full((16, 16), -1e9), 1))

    def rotate(self, x, t):
        a, b = x[..., :4], x[..., 4:]
        return x * self.cos[:t] + torch.cat([-b, a], -1) * self.sin[:t]

    def forward(self, ids):
        x = self.emb(ids)
        b, t, d = x.shape
        for n1, q, k, v, o, n2, gate, up, down in self.layers:
            y = n1(x)
            qq = self.rotate(q(y).view(b, t, self.h, self.dim).transpose(1, 2), t)
            kk = self.rotate(k(y).view(b, t, self.kv, self.dim).transpose(1, 2), t)
            vv = v(y).view(b, t, self.kv, self.dim).transpose(1, 2)
            r = self.h // self.kv
            kk, vv = (z[:, :, None, :, :].expand(b, self.kv, r, t, self.dim).reshape(b, self.h, t, self.dim) for z in (kk, vv))
            s = (qq @ kk.transpose(2, 3)) / math.sqrt(self.dim) + self.mask[:t, :t]
            x = x + o((s.softmax(-1) @ vv).transpose(1, 2).reshape(b, t, -1))
            y = n2(x)
            x = x + down(F.silu(gate(y)) * up(y))
        return self.head(self.norm(x))


class Tabular(nn.Module):
    """Embeddings of categories beside numbers, factorisation by dot products, deep and cross parts."""

    def __init__(self):
        super().__init__()
        self.e = nn.ModuleList(nn.Embedding(n, 8) for n in (10, 7, 5))
        self.bot, self.top = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU()), nn.Sequential(nn.Linear(14, 24), nn.ReLU(), nn.Linear(24, 1))
        self.register_buffer("pairs", torch.tensor([4, 8, 9, 12, 13, 14]))

    def forward(self, dense, cats):
        x = self.bot(dense)
        z = torch.stack([x] + [e(cats[:, i]) for i, e in enumerate(self.e)], 1)
        p = torch.bmm(z, z.transpose(1, 2)).flatten(1)
        return torch.sigmoid(self.top(torch.cat([x, p[:, self.pairs]], 1))).squeeze(-1)


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.BatchNorm1d(20), nn.Linear(20, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 32), nn.SELU(), nn.Linear(32, 32), nn.LayerNorm(32), nn.Softplus(), nn.Linear(32, 4))

    def forward(self, x):
        return F.softmax(self.net(x), dim=1)


class GCN(nn.Module):
    """Adjacency given: two graph convolutions."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 20), nn.Linear(20, 16), nn.Linear(16, 4)

    def forward(self, x, adj):
        x = F.relu(torch.bmm(adj, self.a(x)))
        x = F.relu(torch.bmm(adj, self.b(x)) + 0)
        return self.c(x.max(1)[0])


class PointNet(nn.Module):
    """Shared MLPs over points, a maximum over them, global feature repeated beside the local ones."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.d, self.e = nn.Conv1d(3, 16, 1), nn.BatchNorm1d(16), nn.Conv1d(16, 32, 1), nn.Conv1d(48, 20, 1), nn.Conv1d(20, 5, 1)

    def forward(self, x):
        p = F.relu(self.b(self.a(x)))
        g = torch.max(self.c(p), 2, keepdim=True)[0].repeat(1, 1, x.shape[2])
        return self.e(F.relu(self.d(torch.cat([p, g], 1)))).transpose(2, 1).log_softmax(-1)


IDS = lambda t, n: ("ids", (t,), n)
FAMILIES = {
    "crnn": (CRNN, {"image": (1, 16, 24)}), "seq2seq": (Recurrent, {"src": ((7,), 20), "dst": ((5,), 20)}), "tagger": (LSTMTagger, {"ids": ((9,), 30)}),
    "encoder_post": (lambda: Encoder(False), {"x": (12, 6)}), "encoder_pre": (lambda: Encoder(True), {"x": (12, 6)}),
    "encoder_decoder": (LibraryEncoderDecoder, {"src": ((10,), 20), "dst": ((8,), 20)}), "gpt_tied": (GPT, {"ids": ((10,), 40)}), "gpt": (lambda: GPT(False), {"ids": ((10,), 40)}),
    "bert": (BERT, {"input_ids": ((10,), 40), "token_type_ids": ((10,), 2), "attention_mask": ((10,), -2)}), "swin": (Swin, {"image": (3, 32, 32)}),
    "vit": (ViT, {"image": (3, 32, 32)}), "mixer": (Mixer, {"image": (3, 32, 32)}), "conformer": (Conformer, {"features": (24, 16)}), "whisper": (Whisper, {"mel": (20, 24)}),
    "wavenet": (WaveNet, {"x": (4, 20)}), "tcn": (TCN, {"x": (4, 20)}), "tasnet": (ConvTasNet, {"wave": (64,)}), "llama": (LLaMA, {"ids": ((10,), 40)}),
    "llama_mha": (lambda: LLaMA(4), {"ids": ((10,), 40)}), "tabular": (Tabular, {"dense": (6,), "cats": ((3,), 5)}), "mlp": (MLP, {"x": (20,)}),
    "gcn": (GCN, {"x": (8, 6), "adj": (8, 8)}), "pointnet": (PointNet, {"points": (3, 18)}),
}
