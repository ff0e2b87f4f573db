"""Architectures with random weights, each as NAME -> a function that returns a module and its inputs for one sample."""
import functools

import timm
import torch
import torchvision
import transformers
from torch import nn

NETS = {}


def net(make):
    """Registers a function under its name."""
    NETS[make.__name__] = make
    return make


def image(size=64):
    return (torch.randn(1, 3, size, size),)


def ids(n=12, top=90):
    return (torch.randint(1, top, (1, n)),)


# Networks of torchvision and timm as they are, with ten classes, at the given size of the images.
for name, size in {
    "resnet18": 64, "resnet50": 64, "resnext50_32x4d": 64, "mobilenet_v2": 64, "mobilenet_v3_small": 64, "densenet121": 64,
    "squeezenet1_1": 64, "googlenet": 64, "shufflenet_v2_x1_0": 64, "mnasnet1_0": 64, "efficientnet_b0": 64, "regnet_y_400mf": 64,
    "convnext_tiny": 64, "swin_t": 64, "swin_v2_t": 64,
}.items():
    NETS[name] = functools.partial(lambda name, size: (getattr(torchvision.models, name)(weights=None, num_classes=10), image(size)), name, size)
for name, size in {
    "convnextv2_atto": 64, "vit_relpos_small_patch16_224": 224, "vit_tiny_patch16_224": 224, "mixer_s32_224": 224, "resmlp_12_224": 224,
    "gmlp_ti16_224": 224, "mobilevit_xxs": 128, "edgenext_xx_small": 128, "ghostnet_100": 64, "repvgg_a0": 64, "poolformer_s12": 64,
    "levit_128s": 224, "pvt_v2_b0": 64, "xcit_nano_12_p16_224": 224, "cait_xxs24_224": 224, "dla34": 64, "res2net50_26w_4s": 64,
    "efficientformer_l1": 224, "coatnet_pico_rw_224": 224, "nf_resnet26": 64, "hrnet_w18_small": 64, "eva02_tiny_patch14_224": 224,
    "vit_base_patch16_clip_224": 224, "maxvit_pico_rw_256": 256, "fastvit_t8": 64, "mobilenetv4_conv_small": 64, "twins_svt_small": 224,
}.items():
    NETS["timm_" + name] = functools.partial(lambda name, size: (timm.create_model(name, pretrained=False, num_classes=10), image(size)), name, size)


def vgg(layers, bn, size):
    """A VGG of a quarter of the width."""
    cfg = [n if n == "M" else n // 4 for n in torchvision.models.vgg.cfgs[layers]]
    m = torchvision.models.vgg.VGG(torchvision.models.vgg.make_layers(cfg, bn), num_classes=10)
    m.classifier = nn.Sequential(nn.Linear(128 * 49, 256), nn.ReLU(), nn.Dropout(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    return m, image(size)


NETS["vgg11"] = lambda: vgg("A", False, 224)
NETS["vgg11_at_64"] = lambda: vgg("A", False, 64)
NETS["vgg16_bn_at_96"] = lambda: vgg("D", True, 96)


def alexnet(size):
    m = torchvision.models.alexnet(weights=None, num_classes=10)
    m.classifier = nn.Sequential(nn.Linear(256 * 36, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    return m, image(size)


NETS["alexnet"] = lambda: alexnet(224)
NETS["alexnet_at_96"] = lambda: alexnet(96)


class Pick(nn.Module):
    """The first output of a network that returns many, read by a classifier."""

    def __init__(self, m, width, names=("input_ids",), **given):
        super().__init__()
        self.m, self.names, self.given, self.head = m, names, given, nn.Linear(width, 10)

    def forward(self, *inputs):
        return self.head(self.m(**dict(zip(self.names, inputs)), **self.given)[0])


def hf(kind, inputs=ids, head=True, names=("input_ids", "attention_mask"), width=64, **cfg):
    """A network of transformers: its configuration with 64 channels, 4 heads, 128 hidden units and two layers."""
    config = getattr(transformers, kind + "Config")(**{**dict(
        vocab_size=100, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
        max_position_embeddings=40, pad_token_id=0, bos_token_id=1, eos_token_id=2, attn_implementation="eager"), **cfg})
    m = getattr(transformers, kind + "Model")(config)
    given = {"use_cache": False} if getattr(config, "use_cache", None) is not None else {}
    args = inputs()
    if "attention_mask" in names[1:2]:
        args = args + (torch.ones_like(args[0]),)
    return Pick(m, width, names, return_dict=False, **given), args


for kind in ("Bert", "Roberta", "Electra", "Ernie", "Camembert", "Nystromformer"):
    NETS[kind.lower()] = functools.partial(hf, kind)
NETS["albert"] = lambda: hf("Albert", embedding_size=32)
NETS["distilbert"] = lambda: hf("DistilBert", dim=64, hidden_dim=128, n_heads=4, n_layers=2)
NETS["mpnet"] = lambda: hf("MPNet")
NETS["deberta_v2"] = lambda: hf("DebertaV2", relative_attention=True, pos_att_type=["p2c", "c2p"], position_buckets=16, share_att_key=True)
NETS["deberta"] = lambda: hf("Deberta", relative_attention=True, pos_att_type=["p2c", "c2p"])
NETS["squeezebert"] = lambda: hf("SqueezeBert", embedding_size=64)
NETS["gpt2"] = lambda: hf("GPT2", n_embd=64, n_head=4, n_layer=2)
NETS["opt"] = lambda: hf("OPT", ffn_dim=128, word_embed_proj_dim=64)
for kind in ("Llama", "Mistral", "Qwen2", "Qwen3", "Gemma", "GPTNeoX", "Phi", "StableLm", "Olmo2"):
    NETS[kind.lower()] = functools.partial(hf, kind, **({} if kind in ("GPTNeoX", "Phi", "StableLm") else {"num_key_value_heads": 2}),
                                           **({"head_dim": 16} if kind in ("Qwen3", "Gemma") else {}))
NETS["t5_encoder"] = lambda: t5()
NETS["mamba"] = lambda: hf("Mamba", names=("input_ids",), state_size=8, expand=2, conv_kernel=4, time_step_rank=8)


def t5():
    config = transformers.T5Config(vocab_size=100, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4)
    return Pick(transformers.T5EncoderModel(config), 64, ("input_ids", "attention_mask"), return_dict=False), ids() + (torch.ones(1, 12, dtype=torch.long),)


@net
def clip_text():
    config = transformers.CLIPTextConfig(vocab_size=100, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=16,
                                         projection_dim=32, pad_token_id=0, bos_token_id=1, eos_token_id=2, attn_implementation="eager")
    return Pick(transformers.CLIPTextModel(config), 64, return_dict=False), ids()


@net
def clip_vision():
    config = transformers.CLIPVisionConfig(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, image_size=32, patch_size=8, attn_implementation="eager")
    return Pick(transformers.CLIPVisionModel(config), 64, ("pixel_values",), return_dict=False), image(32)


@net
def segformer():
    config = transformers.SegformerConfig(depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 48, 64], num_attention_heads=[1, 2, 3, 4], attn_implementation="eager")
    return Pick(transformers.SegformerModel(config), 2, ("pixel_values",), return_dict=False), image(64)


@net
def wav2vec2():
    config = transformers.Wav2Vec2Config(vocab_size=32, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, conv_dim=[32] * 3, conv_kernel=[10, 3, 3],
                                         conv_stride=[5, 2, 2], num_feat_extract_layers=3, num_conv_pos_embedding_groups=4, num_conv_pos_embeddings=16, attn_implementation="eager")
    return Pick(transformers.Wav2Vec2Model(config), 64, ("input_values",), return_dict=False), (torch.randn(1, 400),)


class DLRM(nn.Module):
    """Deep learning recommendation model (Naumov et al. 2019): dense features and embeddings meet in dot products."""

    def __init__(self, tables=6, width=16):
        super().__init__()
        self.bottom = nn.Sequential(nn.Linear(13, 64), nn.ReLU(), nn.Linear(64, width), nn.ReLU())
        self.tables = nn.ModuleList(nn.Embedding(50, width) for _ in range(tables))
        n = tables + 1
        self.top = nn.Sequential(nn.Linear(width + n * (n - 1) // 2, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
        self.register_buffer("rows", torch.tensor([i for i in range(n) for j in range(i)]))
        self.register_buffer("cols", torch.tensor([j for i in range(n) for j in range(i)]))

    def forward(self, dense, sparse):
        x = self.bottom(dense)
        t = torch.stack([x] + [e(sparse[:, i]) for i, e in enumerate(self.tables)], 1)
        z = torch.bmm(t, t.transpose(1, 2))
        return self.top(torch.cat([x, z[:, self.rows, self.cols]], 1))


NETS["dlrm"] = lambda: (DLRM(), (torch.randn(1, 13), torch.randint(0, 50, (1, 6))))


class Res(nn.Module):
    def __init__(self, i, o, t=64):
        super().__init__()
        self.a, self.b = nn.Sequential(nn.GroupNorm(8, i), nn.SiLU(), nn.Conv2d(i, o, 3, padding=1)), nn.Sequential(nn.GroupNorm(8, o), nn.SiLU(), nn.Conv2d(o, o, 3, padding=1))
        self.t, self.skip = nn.Linear(t, o), nn.Conv2d(i, o, 1) if i != o else nn.Identity()

    def forward(self, x, t):
        return self.b(self.a(x) + self.t(t)[:, :, None, None]) + self.skip(x)


class UNet(nn.Module):
    """The network of a diffusion model (Ho et al. 2020), in small."""

    def __init__(self):
        super().__init__()
        self.time = nn.Sequential(nn.Linear(32, 64), nn.SiLU(), nn.Linear(64, 64))
        self.inp, self.d1, self.down, self.d2 = nn.Conv2d(3, 32, 3, padding=1), Res(32, 32), nn.Conv2d(32, 32, 3, 2, 1), Res(32, 64)
        self.norm, self.qkv, self.proj, self.mid = nn.GroupNorm(8, 64), nn.Conv1d(64, 192, 1), nn.Conv1d(64, 64, 1), Res(64, 64)
        self.u2, self.up, self.u1 = Res(128, 32), nn.Upsample(scale_factor=2), Res(64, 32)
        self.out = nn.Sequential(nn.GroupNorm(8, 32), nn.SiLU(), nn.Conv2d(32, 3, 3, padding=1))

    def forward(self, x, t):
        f = torch.exp(-torch.arange(16) * 0.5) * t[:, None]
        t = self.time(torch.cat([f.sin(), f.cos()], 1))
        a = self.d1(self.inp(x), t)
        b = self.d2(self.down(a), t)
        n, c, h, w = b.shape
        q, k, v = self.qkv(self.norm(b).reshape(n, c, h * w)).chunk(3, 1)
        b2 = b + self.proj(v @ (q.transpose(1, 2) @ k * c**-0.5).softmax(-1).transpose(1, 2)).reshape(n, c, h, w)
        u = self.up(self.u2(torch.cat([self.mid(b2, t), b], 1), t))
        return self.out(self.u1(torch.cat([u, a], 1), t))


NETS["ddpm_unet"] = lambda: (UNet(), (torch.randn(1, 3, 16, 16), torch.rand(1)))


class Recurrent(nn.Module):
    def __init__(self, kind, norm=False):
        super().__init__()
        self.emb, self.net, self.head = nn.Embedding(100, 32), getattr(nn, kind)(32, 48, 2, batch_first=True, bidirectional=kind != "RNN"), nn.Linear(48 if kind == "RNN" else 96, 5)

    def forward(self, x):
        return self.head(self.net(self.emb(x))[0])


for kind in ("LSTM", "GRU", "RNN"):
    NETS[kind.lower()] = functools.partial(lambda kind: (Recurrent(kind), ids()), kind)


@net
def weight_norm_tcn():
    wn = torch.nn.utils.parametrizations.weight_norm
    return nn.Sequential(wn(nn.Conv1d(3, 32, 3, padding=1)), nn.ReLU(), wn(nn.Conv1d(32, 64, 3, padding=2, dilation=2)), nn.ReLU(), wn(nn.Conv1d(64, 64, 3, padding=4, dilation=4)),
                         nn.AdaptiveAvgPool1d(1), nn.Flatten(), wn(nn.Linear(64, 10))), (torch.randn(1, 3, 40),)


@net
def transformer_encoder():
    layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
    return nn.Sequential(nn.Embedding(100, 64), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(64, 10)), ids()


@net
def channels_last():
    m = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))
    return m.to(memory_format=torch.channels_last), (torch.randn(1, 3, 32, 32).to(memory_format=torch.channels_last),)
