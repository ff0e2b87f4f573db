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
    "mobileone_s0": 64, "regnetx_002": 64, "coat_tiny": 224, "tiny_vit_5m_224": 224, "davit_tiny": 224, "focalnet_tiny_srf": 224,
    "inception_next_atto": 64, "hgnetv2_b0": 64, "resnest14d": 64, "rexnet_100": 64, "starnet_s1": 64, "convmixer_768_32": 64,
}.items():
    NETS["timm_" + name] = functools.partial(lambda name, size: (timm.create_model(name, pretrained=False, num_classes=10), image(size)), name, size)


# Vision transformers of timm with two layers.
for name, kind, more in (
    ("beit", "beit_base_patch16_224", {"img_size": 64, "num_heads": 3}),
    ("beitv2", "beitv2_base_patch16_224", {"img_size": 64, "num_heads": 3}),
    ("deit", "deit_tiny_distilled_patch16_224", {"img_size": 64}),
    ("deit3", "deit3_small_patch16_224", {"img_size": 64, "num_heads": 3}),
    ("dinov2", "vit_small_patch14_dinov2", {"img_size": 56, "num_heads": 3}),
    ("dinov2_reg", "vit_small_patch14_reg4_dinov2", {"img_size": 56, "num_heads": 3}),
    ("siglip", "vit_base_patch16_siglip_224", {"img_size": 64, "num_heads": 3}),
    ("crossvit", "crossvit_tiny_240", None),
):
    small = {} if more is None else {"depth": 2, "embed_dim": 192, **more}
    NETS[name] = functools.partial(
        lambda kind, small: (timm.create_model(kind, pretrained=False, num_classes=10, **small), image(small.get("img_size", 240))), kind, small)


@net
def inception_v3():
    return torchvision.models.inception_v3(weights=None, num_classes=10, aux_logits=False, init_weights=False), image(96)


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


NETS["modernbert"] = lambda: hf("ModernBert", global_attn_every_n_layers=2, local_attention=8, cls_token_id=1, sep_token_id=2, reference_compile=False)
NETS["minilm"] = lambda: hf("Bert", hidden_size=48, num_attention_heads=12, intermediate_size=192, width=48)
NETS["bloom"] = lambda: hf("Bloom", n_layer=2, n_head=4)
NETS["gpt_bigcode"] = lambda: hf("GPTBigCode", n_embd=64, n_head=4, n_layer=2, multi_query=True)


@net
def whisper_encoder():
    config = transformers.WhisperConfig(vocab_size=100, num_mel_bins=16, d_model=64, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=128, max_source_positions=50,
                                        decoder_layers=1, decoder_attention_heads=4, decoder_ffn_dim=64, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, attn_implementation="eager")
    from transformers.models.whisper.modeling_whisper import WhisperEncoder
    return Pick(WhisperEncoder(config), 64, ("input_features",), return_dict=False), (torch.randn(1, 16, 100),)


@net
def hubert():
    config = transformers.HubertConfig(vocab_size=32, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, conv_dim=[32] * 3, conv_kernel=[10, 3, 3],
                                       conv_stride=[5, 2, 2], num_feat_extract_layers=3, num_conv_pos_embedding_groups=4, num_conv_pos_embeddings=16, attn_implementation="eager")
    return Pick(transformers.HubertModel(config), 64, ("input_values",), return_dict=False), (torch.randn(1, 400),)


@net
def detr_decoder():
    """Learnt queries that look at the features of a backbone, as in DETR (Carion et al. 2020)."""
    class Net(nn.Module):
        def __init__(self, width=32):
            super().__init__()
            self.backbone = nn.Sequential(conv(3, 24, 2), conv(24, 48, 2), conv(48, 96, 2))
            self.project, self.queries, self.places = nn.Conv2d(96, width, 1), nn.Parameter(torch.randn(1, 10, width)), nn.Parameter(torch.randn(1, 64, width))
            self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(width, 4, 64, batch_first=True), 1, enable_nested_tensor=False)
            self.decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(width, 4, 64, batch_first=True), 2)
            self.scores, self.boxes = nn.Linear(width, 11), nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4))

        def forward(self, x):
            x = self.encoder(self.project(self.backbone(x)).flatten(2).transpose(1, 2) + self.places)
            y = self.decoder(self.queries.expand(x.shape[0], -1, -1), x)
            return torch.cat([self.scores(y), self.boxes(y).sigmoid()], -1)

    return Net(), image(64)


def conv(i, o, stride=1, kernel=3, groups=1, act=nn.SiLU):
    return nn.Sequential(nn.Conv2d(i, o, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(o), act())


class C2f(nn.Module):
    """The block of YOLOv8: half of the channels pass through bottlenecks, all that comes of them is put together."""

    def __init__(self, i, o, n):
        super().__init__()
        self.first, self.last = conv(i, o, kernel=1), conv((n + 2) * o // 2, o, kernel=1)
        self.blocks = nn.ModuleList(nn.Sequential(conv(o // 2, o // 2), conv(o // 2, o // 2)) for _ in range(n))

    def forward(self, x):
        parts = list(self.first(x).chunk(2, 1))
        for b in self.blocks:
            parts.append(parts[-1] + b(parts[-1]))
        return self.last(torch.cat(parts, 1))


class YOLO(nn.Module):
    """A detector after YOLOv8, in small: C2f blocks, pooled pyramid, two scales, distances as distributions."""

    def __init__(self, classes=6, bins=8):
        super().__init__()
        self.bins, self.classes = bins, classes
        self.stem, self.a, self.b = conv(3, 16, 2), nn.Sequential(conv(16, 32, 2), C2f(32, 32, 1)), nn.Sequential(conv(32, 64, 2), C2f(64, 64, 2))
        self.squeeze, self.spread, self.pool = conv(64, 32, kernel=1), conv(128, 64, kernel=1), nn.MaxPool2d(5, 1, 2)
        self.up, self.top, self.down, self.bottom = nn.Upsample(scale_factor=2), C2f(96, 32, 1), conv(32, 32, 2), C2f(96, 64, 1)
        self.box = nn.ModuleList(nn.Sequential(conv(n, 32), nn.Conv2d(32, 4 * bins, 1)) for n in (32, 64))
        self.cls = nn.ModuleList(nn.Sequential(conv(n, 32), nn.Conv2d(32, classes, 1)) for n in (32, 64))
        self.register_buffer("steps", torch.arange(bins, dtype=torch.float).reshape(1, bins, 1, 1))

    def forward(self, x):
        a = self.a(self.stem(x))
        b = [self.squeeze(self.b(a))]
        for _ in range(3):
            b.append(self.pool(b[-1]))
        b = self.spread(torch.cat(b, 1))
        top = self.top(torch.cat([self.up(b), a], 1))
        features = top, self.bottom(torch.cat([self.down(top), b], 1))
        both = torch.cat([torch.cat([box(f), cls(f)], 1).flatten(2) for f, box, cls in zip(features, self.box, self.cls)], 2)
        box, cls = both.split((4 * self.bins, self.classes), 1)
        n, _, k = box.shape
        box = (box.reshape(n, 4, self.bins, k).transpose(1, 2).softmax(1) * self.steps).sum(1)
        return torch.cat([box, cls.sigmoid()], 1)


NETS["yolo"] = lambda: (YOLO(), image(64))


class Pyramid(nn.Module):
    """A feature pyramid with heads that all scales share (Tian et al. 2019, FCOS; with anchors RetinaNet and SSD)."""

    def __init__(self, norm, anchors=1, classes=5, width=32):
        super().__init__()
        self.anchors, self.classes = anchors, classes
        self.stages = nn.ModuleList([nn.Sequential(conv(3, 16, 2, act=nn.ReLU), conv(16, 24, 2, act=nn.ReLU)), conv(24, 48, 2, act=nn.ReLU), conv(48, 64, 2, act=nn.ReLU)])
        self.lateral, self.smooth = nn.ModuleList(nn.Conv2d(n, width, 1) for n in (24, 48, 64)), nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(3))
        tower = lambda: nn.Sequential(*(m for _ in range(2) for m in (nn.Conv2d(width, width, 3, padding=1), norm(width), nn.ReLU())))
        self.towers, self.scores, self.boxes = nn.ModuleList(tower() for _ in range(2)), nn.Conv2d(width, anchors * classes, 3, padding=1), nn.Conv2d(width, anchors * 4, 3, padding=1)
        self.scales = nn.Parameter(torch.ones(3))

    def forward(self, x):
        maps = []
        for s in self.stages:
            maps.append(s(x if not maps else maps[-1]))
        maps = [l(m) for l, m in zip(self.lateral, maps)]
        for k in (1, 0):
            maps[k] = maps[k] + nn.functional.interpolate(maps[k + 1], size=maps[k].shape[-2:], mode="nearest")
        out = []
        for k, m in enumerate(maps):
            m = self.smooth[k](m)
            scores, boxes = self.scores(self.towers[0](m)), self.boxes(self.towers[1](m)) * self.scales[k]
            n, _, h, w = scores.shape
            both = [t.view(n, self.anchors, -1, h, w).permute(0, 3, 4, 1, 2).reshape(n, h * w * self.anchors, -1) for t in (scores, boxes)]
            out.append(torch.cat(both, 2))
        return torch.cat(out, 1)


NETS["fcos"] = lambda: (Pyramid(lambda n: nn.GroupNorm(8, n)), image(64))
NETS["retinanet"] = lambda: (Pyramid(nn.BatchNorm2d, anchors=3), image(64))


@net
def ssdlite():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            m = torchvision.models.mobilenet_v3_small(weights=None).features
            self.a, self.b, self.extra = m[:9], m[9:], conv(576, 64, 2)
            light = lambda i, o: nn.Sequential(conv(i, i, groups=i, act=nn.ReLU6), nn.Conv2d(i, o, 1))
            self.scores, self.boxes = nn.ModuleList(light(n, 6 * 5) for n in (48, 576, 64)), nn.ModuleList(light(n, 6 * 4) for n in (48, 576, 64))

        def forward(self, x):
            a = self.a(x)
            b = self.b(a)
            out = []
            for m, s, l in zip((a, b, self.extra(b)), self.scores, self.boxes):
                out.append(torch.cat([t.permute(0, 2, 3, 1).reshape(t.shape[0], -1, k) for t, k in ((s(m), 5), (l(m), 4))], 2))
            return torch.cat(out, 1)

    return Net(), image(96)


@net
def deeplab():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.m = torchvision.models.segmentation.deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=5)

        def forward(self, x):
            return self.m(x)["out"]

    return Net(), image(64)


@net
def unet():
    """U-Net (Ronneberger et al. 2015), with transposed convolutions."""
    def two(i, o):
        return nn.Sequential(conv(i, o, act=nn.ReLU), conv(o, o, act=nn.ReLU))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.down, self.mid = nn.ModuleList([two(3, 16), two(16, 32), two(32, 64)]), two(64, 128)
            self.up, self.join = nn.ModuleList(nn.ConvTranspose2d(2 * n, n, 2, 2) for n in (64, 32, 16)), nn.ModuleList(two(2 * n, n) for n in (64, 32, 16))
            self.out = nn.Conv2d(16, 2, 1)

        def forward(self, x):
            skips = []
            for d in self.down:
                skips.append(d(x))
                x = nn.functional.max_pool2d(skips[-1], 2)
            x = self.mid(x)
            for u, j in zip(self.up, self.join):
                x = j(torch.cat([skips.pop(), u(x)], 1))
            return self.out(x)

    return Net(), image(64)


@net
def autoencoder():
    down = [nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(64 * 64, 32)]
    up = [nn.Linear(32, 64 * 64), nn.ReLU(), nn.Unflatten(1, (64, 8, 8)), nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(32, 3, 4, 2, 1), nn.Sigmoid()]
    return nn.Sequential(*down, *up), image(32)


@net
def super_resolution():
    """EDSR (Lim et al. 2017) in small: residual blocks, pixel shuffle."""
    class Net(nn.Module):
        def __init__(self, n=32):
            super().__init__()
            self.head, self.tail = nn.Conv2d(3, n, 3, padding=1), nn.Sequential(nn.Conv2d(n, 4 * n, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(n, 3, 3, padding=1))
            self.body = nn.ModuleList(nn.Sequential(nn.Conv2d(n, n, 3, padding=1), nn.ReLU(), nn.Conv2d(n, n, 3, padding=1)) for _ in range(4))

        def forward(self, x):
            x = y = self.head(x)
            for b in self.body:
                y = y + b(y) * 0.1
            return self.tail(x + y)

    return Net(), image(24)


@net
def espcn():
    return nn.Sequential(nn.Conv2d(3, 64, 5, padding=2), nn.Tanh(), nn.Conv2d(64, 32, 3, padding=1), nn.Tanh(), nn.Conv2d(32, 27, 3, padding=1), nn.PixelShuffle(3)), image(24)


@net
def ft_transformer():
    """FT-Transformer (Gorishniy et al. 2021): every number and every category of a table is a token."""
    class Net(nn.Module):
        def __init__(self, numbers=8, tables=(50, 60, 70), width=32):
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.randn(numbers, width)), nn.Parameter(torch.randn(numbers, width))
            self.tables, self.cls = nn.ModuleList(nn.Embedding(n, width) for n in tables), nn.Parameter(torch.randn(1, 1, width))
            layer = nn.TransformerEncoderLayer(width, 4, 64, batch_first=True, norm_first=True, activation="gelu")
            self.net, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Sequential(nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, 3))

        def forward(self, x, c):
            t = [self.cls.expand(x.shape[0], -1, -1), x[..., None] * self.weight + self.bias] + [e(c[:, k])[:, None] for k, e in enumerate(self.tables)]
            return self.head(self.net(torch.cat(t, 1))[:, 0])

    return Net(), (torch.randn(1, 8), torch.randint(0, 5, (1, 3)))


@net
def tabular_resnet():
    class Block(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.f = nn.Sequential(nn.BatchNorm1d(n), nn.Linear(n, 2 * n), nn.ReLU(), nn.Linear(2 * n, n))

        def forward(self, x):
            return x + self.f(x)

    return nn.Sequential(nn.Linear(20, 64), Block(64), Block(64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 4)), (torch.randn(1, 20),)


@net
def mlp():
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4)), (torch.randn(1, 20),)


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
