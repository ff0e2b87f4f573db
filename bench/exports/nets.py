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


def scaled(name, size, make):
    """Registers a network of images, ten classes, random weights."""
    NETS[name] = lambda: (make(), image(size))


# Networks of torchvision with fewer layers and channels.
tv = torchvision.models
for name, size, make in (
    ("resnet18", 64, lambda: thin(tv.resnet18(num_classes=10))),
    ("mobilenet_v2", 64, lambda: tv.mobilenet_v2(num_classes=10, width_mult=0.35)),
    ("mobilenet_v3_small", 64, lambda: tv.mobilenet_v3_small(num_classes=10, width_mult=0.5)),
    ("densenet121", 64, lambda: tv.DenseNet(8, (2, 3, 3, 2), 16, num_classes=10)),
    ("squeezenet1_1", 64, lambda: tv.squeezenet1_1(num_classes=10)),
    ("googlenet", 64, lambda: thin(tv.googlenet(num_classes=10, aux_logits=False, init_weights=False))),
    ("shufflenet_v2_x1_0", 64, lambda: tv.ShuffleNetV2([2, 2, 2], [24, 48, 96, 192, 256], num_classes=10)),
    ("mnasnet1_0", 64, lambda: tv.MNASNet(0.35, num_classes=10)),
    ("convnext_tiny", 64, lambda: tv.ConvNeXt([tv.convnext.CNBlockConfig(16, 32, 1), tv.convnext.CNBlockConfig(32, 64, 2), tv.convnext.CNBlockConfig(64, None, 1)], num_classes=10)),
    ("swin_t", 64, lambda: tv.SwinTransformer([4, 4], 24, [2, 2], [2, 4], [4, 4], num_classes=10)),
    ("swin_v2_t", 64, lambda: tv.SwinTransformer([4, 4], 24, [2, 2], [2, 4], [4, 4], num_classes=10, block=tv.swin_transformer.SwinTransformerBlockV2, downsample_layer=tv.swin_transformer.PatchMergingV2)),
):
    scaled(name, size, make)


def thin(m, part=4):
    """A network of plain convolutions, BatchNorms and one linear layer with a part of its channels."""
    for parent in list(m.modules()):
        for name, c in list(parent.named_children()):
            if isinstance(c, nn.Conv2d):
                i = c.in_channels if c.in_channels == 3 else c.in_channels // part
                setattr(parent, name, nn.Conv2d(i, c.out_channels // part, c.kernel_size, c.stride, c.padding, c.dilation, bias=c.bias is not None))
            elif isinstance(c, nn.BatchNorm2d):
                setattr(parent, name, nn.BatchNorm2d(c.num_features // part))
            elif isinstance(c, nn.Linear):
                setattr(parent, name, nn.Linear(c.in_features // part, c.out_features))
    return m


# Networks of timm, most with fewer layers and channels.
four = {"depths": (1, 1, 1, 1), "dims": (16, 24, 32, 48)}
vit = {"img_size": 64, "embed_dim": 48, "depth": 2, "num_heads": 3}
for name, size, more in (
    ("convnextv2_atto", 64, four), ("inception_next_atto", 64, four), ("mambaout_femto", 64, four),
    ("vit_tiny_patch16_224", 64, vit), ("vit_relpos_small_patch16_224", 64, vit), ("vit_base_patch16_clip_224", 64, vit),
    ("eva02_tiny_patch14_224", 56, {**vit, "img_size": 56}), ("vit_base_patch16_rope_224", 64, vit), ("vit_small_patch16_dinov3", 64, vit), ("beit3_base_patch16_224", 64, vit),
    ("samvit_base_patch16", 64, {**vit, "global_attn_indexes": (1,), "window_size": 2, "neck_chans": 32}),
    ("cait_xxs24_224", 64, {"img_size": 64, "embed_dim": 48, "depth": 2}), ("convit_tiny", 64, {"img_size": 64, "embed_dim": 12, "depth": 3, "local_up_to_layer": 2, "num_heads": 4}),
    ("xcit_nano_12_p16_224", 64, {"img_size": 64, "embed_dim": 64, "depth": 2, "cls_attn_layers": 1, "num_heads": 4}),
    ("mobilevit_xxs", 128, {}), ("mobilevitv2_050", 64, {}), ("edgenext_xx_small", 64, {"depths": (1, 2, 2, 2), "dims": (16, 24, 32, 48), "heads": (2, 2, 2, 2)}),
    ("pvt_v2_b0", 64, {"depths": (1, 1, 1, 1), "embed_dims": (16, 32, 40, 64), "num_heads": (1, 2, 5, 8)}),
    ("levit_128s", 224, {"embed_dim": (32, 48, 64), "key_dim": 8, "num_heads": (2, 3, 4), "depth": (1, 1, 1)}),
    ("efficientformer_l1", 224, {"depths": (1, 1, 1, 2), "embed_dims": (16, 32, 48, 64)}), ("efficientformerv2_s0", 224, {"depths": (1, 1, 2, 2), "embed_dims": (16, 24, 32, 48), "num_vit": 1}),
    ("repvit_m0_9", 64, {"embed_dim": (16, 24, 32, 48), "depth": (1, 1, 2, 1)}), ("tiny_vit_5m_224", 224, {"embed_dims": [16, 32, 48, 64], "depths": [1, 1, 1, 1], "num_heads": [1, 2, 3, 4]}),
    ("hiera_tiny_224", 64, {"img_size": 64, "embed_dim": 16, "stages": (1, 1, 1, 1)}), ("davit_tiny", 64, {"depths": (1, 1, 1, 1), "embed_dims": (16, 32, 48, 64), "num_heads": (1, 2, 3, 4)}),
    ("starnet_s1", 64, {"base_dim": 8, "depths": [1, 1, 1, 1]}), ("twins_svt_small", 64, {"img_size": 64, "embed_dims": (16, 32, 48, 64), "num_heads": (1, 2, 3, 4), "depths": (1, 1, 2, 1)}),
    ("sequencer2d_s", 64, {"img_size": 64, "layers": (1, 1, 1, 1), "embed_dims": (24, 48, 48, 48), "hidden_sizes": (12, 24, 24, 24)}),
    ("visformer_tiny", 64, {"img_size": 64, "init_channels": 8, "embed_dim": 48, "depth": (1, 1, 1), "num_heads": 3}), ("pit_ti_224", 64, {"img_size": 64, "base_dims": [16, 16, 16], "depth": [1, 1, 1], "heads": [2, 4, 8]}),
    ("tnt_s_patch16_224", 64, {"img_size": 64, "embed_dim": 48, "inner_dim": 24, "depth": 2, "num_heads_outer": 3, "num_heads_inner": 4}),
    ("shvit_s1", 64, {"embed_dim": (32, 48, 64), "partial_dim": (16, 24, 32), "depth": (1, 1, 1)}),
    ("efficientvit_b0", 64, {"widths": (8, 16, 24, 32, 48), "depths": (1, 1, 1, 1, 1), "head_dim": 8, "head_widths": (64, 48)}),
    ("efficientvit_m0", 224, {"embed_dim": [32, 48, 64], "depth": [1, 1, 1], "num_heads": [2, 2, 2]}), ("fasternet_t0", 64, {"embed_dim": 16, "depths": (1, 1, 2, 1)}),
    ("swiftformer_xs", 64, {"layers": [1, 1, 2, 1], "embed_dims": [16, 24, 32, 48]}), ("swinv2_tiny_window8_256", 64, {"img_size": 64, "window_size": 4, "embed_dim": 24, "depths": (2, 2), "num_heads": (2, 4)}),
    ("resnet50", 64, {"channels": (8, 16, 24, 32), "layers": [1, 1, 1, 1]}), ("seresnext26d_32x4d", 64, {"channels": (16, 32, 48, 64), "layers": [1, 1, 1, 1], "cardinality": 4}),
    ("skresnet18", 64, {"channels": (16, 32, 48, 64), "layers": [1, 1, 1, 1]}), ("resnest14d", 64, {"channels": (8, 16, 24, 32)}), ("res2net50_26w_4s", 64, {"channels": (16, 32, 48, 64), "layers": [1, 1, 1, 1]}),
    ("resnetv2_50", 64, {"layers": [1, 1, 1, 1], "channels": (32, 48, 64, 96)}), ("dla34", 64, {"channels": (8, 16, 24, 32, 48, 64)}),
    ("regnetx_002", 64, {}), ("regnety_002", 64, {}), ("lcnet_050", 64, {}), ("tinynet_e", 64, {}),
    ("rexnet_100", 64, {"width_mult": 0.3}), ("hgnetv2_b0", 64, {}), ("mobileone_s0", 64, {}),
    ("ese_vovnet19b_slim", 64, {}),
    ("maxvit_pico_rw_256", 64, {"img_size": 64, "stem_width": 16, "embed_dim": (32, 32, 64, 64), "depths": (1, 1, 1, 1)}),
    ("coatnet_pico_rw_224", 64, {"img_size": 64, "stem_width": (16, 24), "embed_dim": (32, 32, 64, 64), "depths": (1, 1, 1, 1)}),
    ("rdnet_tiny", 64, {"num_init_features": 16, "growth_rates": (16, 24, 24), "num_blocks_list": (1, 1, 1), "is_downsample_block": (None, True, True), "block_type": ["Block", "Block", "BlockESE"]}),
):
    scaled("timm_" + name, size, functools.partial(timm.create_model, name, num_classes=10, **more))
tm = timm.models
for name, make in (
    ("mixer_s32_224", lambda: tm.mlp_mixer.MlpMixer(10, 64, patch_size=8, embed_dim=48, num_blocks=2)),
    ("resmlp_12_224", lambda: tm.mlp_mixer.MlpMixer(10, 64, patch_size=8, embed_dim=48, num_blocks=2, mlp_ratio=4, block_layer=tm.mlp_mixer.ResBlock, norm_layer=tm.mlp_mixer.Affine)),
    ("gmlp_ti16_224", lambda: tm.mlp_mixer.MlpMixer(10, 64, patch_size=8, embed_dim=48, num_blocks=2, mlp_ratio=6, block_layer=tm.mlp_mixer.SpatialGatingBlock, mlp_layer=tm.mlp_mixer.GatedMlp)),
    ("poolformer_s12", lambda: tm.metaformer.MetaFormer(num_classes=10, depths=(1, 1, 1, 1), dims=(16, 24, 32, 48), downsample_norm=None, mlp_act=nn.GELU, mlp_bias=True, norm_layers=tm.metaformer.GroupNorm1, layer_scale_init_values=1e-5, res_scale_init_values=None, use_mlp_head=False)),
    ("caformer_s18", lambda: tm.metaformer.MetaFormer(num_classes=10, depths=(1, 1, 1, 1), dims=(16, 32, 64, 96), token_mixers=[tm.metaformer.SepConv] * 2 + [tm.metaformer.Attention] * 2, norm_layers=[tm.metaformer.LayerNorm2dNoBias] * 2 + [tm.metaformer.LayerNormNoBias] * 2)),
    ("focalnet_tiny_srf", lambda: tm.focalnet.FocalNet(num_classes=10, embed_dim=16, depths=(1, 1, 1, 1))),
    ("nest_tiny", lambda: tm.nest.Nest(64, num_classes=10, embed_dims=(24, 32, 48), num_heads=(2, 2, 3), depths=(1, 1, 2))),
    ("volo_d1_224", lambda: tm.volo.VOLO([1, 1, 1, 1], 64, num_classes=10, embed_dims=(24, 48, 48, 48), num_heads=(2, 4, 4, 4), mlp_ratio=3, downsamples=(True, False, False, False), outlook_attention=(True, False, False, False))),
    ("ghostnet_100", lambda: tm.ghostnet._create_ghostnet("ghostnet_100", width=0.3, num_classes=10)),
    ("ghostnetv3_100", lambda: tm.ghostnet._create_ghostnet("ghostnetv3_100", width=0.3, num_classes=10, version="v3")),
    ("mixnet_s", lambda: tm.efficientnet._gen_mixnet_s("mixnet_s", 0.4, num_classes=10)),
    ("efficientnet_lite0", lambda: tm.efficientnet._gen_efficientnet_lite("efficientnet_lite0", 0.3, num_classes=10)),
    ("mobilenetv4_conv_small", lambda: tm.mobilenetv3._gen_mobilenet_v4("mobilenetv4_conv_small", 0.3, num_classes=10)),
    ("convmixer_768_32", lambda: tm.convmixer.ConvMixer(48, 2, num_classes=10)),
):
    scaled("timm_" + name, 64, make)


# Vision transformers of timm with two layers.
for name, kind, more in (
    ("beit", "beit_base_patch16_224", {"img_size": 64, "num_heads": 3}),
    ("beitv2", "beitv2_base_patch16_224", {"img_size": 64, "num_heads": 3}),
    ("deit", "deit_tiny_distilled_patch16_224", {"img_size": 64}),
    ("deit3", "deit3_small_patch16_224", {"img_size": 64, "num_heads": 3}),
    ("dinov2", "vit_small_patch14_dinov2", {"img_size": 56, "num_heads": 3}),
    ("dinov2_reg", "vit_small_patch14_reg4_dinov2", {"img_size": 56, "num_heads": 3}),
    ("siglip", "vit_base_patch16_siglip_224", {"img_size": 64, "num_heads": 3}),
    ("crossvit", "crossvit_tiny_240", {}),
):
    small = {"depth": 2, "embed_dim": 48, **more} if more else {"embed_dim": (24, 48), "num_heads": (3, 3), "depth": ((1, 1, 0), (1, 1, 0))}
    NETS[name] = functools.partial(
        lambda kind, small: (timm.create_model(kind, pretrained=False, num_classes=10, **small), image(small.get("img_size", 240))), kind, small)


@net
def inception_v3():
    return thin(tv.inception_v3(num_classes=10, aux_logits=False, init_weights=False)), image(96)


def vgg(layers, bn, size):
    """A VGG of an eighth of the width."""
    cfg = [n if n == "M" else n // 8 for n in torchvision.models.vgg.cfgs[layers]]
    m = torchvision.models.vgg.VGG(torchvision.models.vgg.make_layers(cfg, bn), num_classes=10)
    m.classifier = nn.Sequential(nn.Linear(64 * 49, 128), nn.ReLU(), nn.Dropout(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    return m, image(size)


NETS["vgg11"] = lambda: vgg("A", False, 224)
NETS["vgg11_at_64"] = lambda: vgg("A", False, 64)
NETS["vgg16_bn_at_96"] = lambda: vgg("D", True, 96)


def alexnet(size):
    m = tv.alexnet(num_classes=10)
    m.features = thin(m.features)
    m.classifier = nn.Sequential(nn.Linear(64 * 36, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
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
    all = {**dict(
        vocab_size=100, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
        max_position_embeddings=40, pad_token_id=0, bos_token_id=1, eos_token_id=2, attn_implementation="eager"), **cfg}
    config = getattr(transformers, kind + "Config")(**{k: v for k, v in all.items() if v is not None})
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
    NETS[kind.lower()] = functools.partial(hf, kind, **({} if kind in ("GPTNeoX", "Phi") else {"num_key_value_heads": 2}),
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
            b = torchvision.models.mobilenet_v3_small(width_mult=0.5, dilated=True).features
            self.m = torchvision.models.segmentation.DeepLabV3(torchvision.models._utils.IntermediateLayerGetter(b, {"12": "out"}), torchvision.models.segmentation.deeplabv3.DeepLabHead(288, 5, (2, 4)))

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


# Networks of transformers that are not the usual encoder or decoder.
NETS["gemma2"] = lambda: hf("Gemma2", num_key_value_heads=2, head_dim=16, query_pre_attn_scalar=16, sliding_window=8)
NETS["phi3"] = lambda: hf("Phi3", num_key_value_heads=2)
NETS["granite"] = lambda: hf("Granite", num_key_value_heads=2)
NETS["falcon"] = lambda: hf("Falcon", new_decoder_architecture=True, num_kv_heads=2, alibi=False, bias=False)
NETS["codegen"] = lambda: hf("CodeGen", n_embd=64, n_head=4, n_layer=2, rotary_dim=8, n_positions=40)
NETS["mixtral"] = lambda: hf("Mixtral", num_key_value_heads=2, num_local_experts=4, experts_implementation="batched_mm")
NETS["deepseek_v3"] = lambda: hf("DeepseekV3", num_key_value_heads=4, q_lora_rank=24, kv_lora_rank=16, qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=16, first_k_dense_replace=2)
NETS["mamba2"] = lambda: hf("Mamba2", names=("input_ids",), state_size=8, expand=2, conv_kernel=4, num_heads=8, head_dim=16, n_groups=2, chunk_size=4)
NETS["rwkv"] = lambda: hf("Rwkv", names=("input_ids",), attention_hidden_size=64)
NETS["xlnet"] = lambda: hf("XLNet", names=("input_ids",), max_position_embeddings=None, d_model=64, n_layer=2, n_head=4, d_inner=128)
NETS["funnel"] = lambda: hf("Funnel", num_hidden_layers=None, block_sizes=[1, 1], d_model=64, n_head=4, d_head=16, d_inner=128, num_decoder_layers=1)
NETS["fnet"] = lambda: hf("FNet", names=("input_ids",))
NETS["convbert"] = lambda: hf("ConvBert", embedding_size=64)
NETS["mobilebert"] = lambda: hf("MobileBert", embedding_size=32, intra_bottleneck_size=32, true_hidden_size=32, num_feedforward_networks=2)
NETS["ibert"] = lambda: hf("IBert")
NETS["rembert"] = lambda: hf("RemBert", input_embedding_size=32, output_embedding_size=64)
NETS["xlm"] = lambda: hf("XLM", emb_dim=64, n_layers=2, n_heads=4)
NETS["layoutlm"] = lambda: hf("LayoutLM", max_2d_position_embeddings=64)
NETS["nomic"] = lambda: hf("NomicBert", names=("input_ids", "attention_mask"))
NETS["esm"] = lambda: hf("Esm", position_embedding_type="rotary", mask_token_id=3)


def seq2seq(kind, **cfg):
    """Encoder and decoder, both inputs given."""
    config = getattr(transformers, kind + "Config")(**{**dict(
        vocab_size=100, d_model=64, encoder_layers=1, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=128, decoder_ffn_dim=128, max_position_embeddings=40,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, attn_implementation="eager"), **cfg})
    return Pick(getattr(transformers, kind + "Model")(config), 64, ("input_ids", "decoder_input_ids"), return_dict=False, use_cache=False), ids() + ids(7)


NETS["bart"] = lambda: seq2seq("Bart")
NETS["marian"] = lambda: seq2seq("Marian")
NETS["m2m100"] = lambda: seq2seq("M2M100")
NETS["pegasus"] = lambda: seq2seq("Pegasus")
NETS["t5"] = lambda: seq2seq("T5", d_kv=16, d_ff=128, num_layers=1, num_decoder_layers=2, num_heads=4)
NETS["mt5"] = lambda: seq2seq("MT5", d_kv=16, d_ff=128, num_layers=1, num_decoder_layers=2, num_heads=4)


@net
def whisper():
    config = transformers.WhisperConfig(vocab_size=100, num_mel_bins=16, d_model=64, encoder_layers=1, encoder_attention_heads=4, encoder_ffn_dim=128, max_source_positions=50, max_target_positions=40,
                                        decoder_layers=2, decoder_attention_heads=4, decoder_ffn_dim=128, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, attn_implementation="eager")
    return Pick(transformers.WhisperModel(config), 64, ("input_features", "decoder_input_ids"), return_dict=False, use_cache=False), (torch.randn(1, 16, 100),) + ids(7)


def speech(kind, **cfg):
    config = getattr(transformers, kind + "Config")(**{**dict(
        vocab_size=32, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, conv_dim=[32] * 3, conv_kernel=[10, 3, 3],
        conv_stride=[5, 2, 2], num_feat_extract_layers=3, num_conv_pos_embedding_groups=4, num_conv_pos_embeddings=16, attn_implementation="eager"), **cfg})
    return Pick(getattr(transformers, kind + "Model")(config), 64, ("input_values",), return_dict=False), (torch.randn(1, 400),)


NETS["wavlm"] = lambda: speech("WavLM")
NETS["data2vec_audio"] = lambda: speech("Data2VecAudio", num_conv_pos_embeddings=2, conv_pos_kernel_size=3)
NETS["wav2vec2_conformer"] = lambda: speech("Wav2Vec2Conformer", conv_depthwise_kernel_size=7)
NETS["sew"] = lambda: speech("SEW", squeeze_factor=2)


def other(kind, inputs, name, width, call=None, **cfg):
    """A network of transformers by its configuration alone."""
    config = getattr(transformers, kind + "Config")(**{**dict(attn_implementation="eager"), **cfg})
    return Pick(getattr(transformers, kind + (call or "Model"))(config), width, (name,), return_dict=False), inputs


small = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128)
NETS["ast"] = lambda: other("AST", (torch.randn(1, 64, 32),), "input_values", 64, max_length=64, num_mel_bins=32, **small)
NETS["vits_mae"] = lambda: other("ViTMSN", image(32), "pixel_values", 64, image_size=32, patch_size=8, **small)
NETS["dpt"] = lambda: other("DPT", image(32), "pixel_values", 64, "ForDepthEstimation", image_size=32, patch_size=8, backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[16, 16, 24, 24], fusion_hidden_size=16, use_auxiliary_head=False, **{**small, "num_hidden_layers": 4})
NETS["yolos"] = lambda: other("Yolos", image(64), "pixel_values", 64, image_size=[64, 64], patch_size=16, num_detection_tokens=5, **small)
NETS["glpn"] = lambda: other("GLPN", image(64), "pixel_values", 2, depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 48, 64], num_attention_heads=[1, 2, 3, 4], decoder_hidden_size=16)
NETS["cvt"] = lambda: other("Cvt", image(64), "pixel_values", 4, patch_sizes=[7, 3, 3], embed_dim=[16, 32, 48], num_heads=[1, 2, 3], depth=[1, 2, 3])
NETS["upernet"] = lambda: other("UperNet", image(64), "pixel_values", 64, "ForSemanticSegmentation", backbone_config=transformers.ConvNextConfig(hidden_sizes=[16, 24, 32, 48], depths=[1, 1, 1, 1], out_features=["stage1", "stage2", "stage3", "stage4"]), hidden_size=16, pool_scales=[1, 2], use_auxiliary_head=False, num_labels=5)
NETS["depth_anything"] = lambda: other("DepthAnything", image(56), "pixel_values", 56, "ForDepthEstimation", backbone_config=transformers.Dinov2Config(image_size=56, patch_size=14, out_indices=[1, 2], apply_layernorm=True, reshape_hidden_states=False, **{k: v for k, v in small.items() if k != "intermediate_size"}, mlp_ratio=2),
                                       reassemble_hidden_size=64, patch_size=14, neck_hidden_sizes=[16, 24], reassemble_factors=[2, 1], fusion_hidden_size=16)
NETS["vivit"] = lambda: other("Vivit", (torch.randn(1, 4, 3, 16, 16),), "pixel_values", 64, image_size=16, num_frames=4, tubelet_size=[2, 8, 8], **small)
NETS["videomae"] = lambda: other("VideoMAE", (torch.randn(1, 4, 3, 16, 16),), "pixel_values", 64, image_size=16, patch_size=8, num_frames=4, tubelet_size=2, **small)
NETS["pvt"] = lambda: other("Pvt", image(64), "pixel_values", 64, image_size=64, depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 48, 64], num_attention_heads=[1, 2, 3, 4], mlp_ratios=[2, 2, 2, 2])
NETS["mgp_str"] = lambda: other("MgpstrForSceneTextRecognition"[:6], image(32), "pixel_values", 64, image_size=[32, 32], patch_size=8, max_token_length=6, **{k: v for k, v in small.items() if k != "intermediate_size"}, mlp_ratio=2.0)
NETS["patchtst"] = lambda: other("PatchTST", (torch.randn(1, 32, 3),), "past_values", 32, num_input_channels=3, context_length=32, patch_length=8, patch_stride=8, d_model=32, num_hidden_layers=2, num_attention_heads=4, ffn_dim=64)
NETS["patchtsmixer"] = lambda: other("PatchTSMixer", (torch.randn(1, 32, 3),), "past_values", 32, num_input_channels=3, context_length=32, patch_length=8, patch_stride=8, d_model=32, num_layers=2)
NETS["encodec"] = lambda: (codec(), (torch.randn(1, 1, 640),))


def codec():
    """The encoder and decoder of EnCodec (Défossez et al. 2022), without the codes between them."""
    m = transformers.EncodecModel(transformers.EncodecConfig(num_filters=8, hidden_size=32, upsampling_ratios=[4, 2], num_residual_layers=1, num_lstm_layers=1, norm_type="time_group_norm", use_causal_conv=False, codebook_size=16, target_bandwidths=[1.5]))
    return nn.Sequential(m.encoder, m.decoder)


@net
def informer_encoder():
    """Attention over a series, distilled by convolutions and pooling (Zhou et al. 2021)."""
    class Net(nn.Module):
        def __init__(self, width=32):
            super().__init__()
            self.token, self.layers = nn.Conv1d(7, width, 3, padding=1, padding_mode="circular"), nn.ModuleList(nn.TransformerEncoderLayer(width, 4, 64, batch_first=True, activation="gelu") for _ in range(2))
            self.distil, self.out = nn.Sequential(nn.Conv1d(width, width, 3, padding=1, padding_mode="circular"), nn.BatchNorm1d(width), nn.ELU(), nn.MaxPool1d(3, 2, 1)), nn.Linear(width, 7)

        def forward(self, x):
            x = self.layers[0](self.token(x.transpose(1, 2)).transpose(1, 2))
            return self.out(self.layers[1](self.distil(x.transpose(1, 2)).transpose(1, 2)))

    return Net(), (torch.randn(1, 24, 7),)


@net
def nbeats():
    """N-BEATS (Oreshkin et al. 2020): stacks subtract what they explain."""
    class Net(nn.Module):
        def __init__(self, n=20, horizon=5, width=64):
            super().__init__()
            self.stacks = nn.ModuleList(nn.Sequential(nn.Linear(n, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()) for _ in range(3))
            self.back, self.ahead = nn.ModuleList(nn.Linear(width, n) for _ in range(3)), nn.ModuleList(nn.Linear(width, horizon) for _ in range(3))

        def forward(self, x):
            y = 0
            for s, b, a in zip(self.stacks, self.back, self.ahead):
                h = s(x)
                x, y = x - b(h), y + a(h)
            return y

    return Net(), (torch.randn(1, 20),)


class Graph(nn.Module):
    """A graph network over given edges: messages are gathered from nodes and added up at others."""

    def __init__(self, kind, nodes=8, width=32):
        super().__init__()
        self.kind, self.first = kind, nn.Linear(6, width)
        self.message, self.update = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(2)), nn.ModuleList(nn.Linear(2 * width, width) for _ in range(2))
        self.score, self.out = nn.ModuleList(nn.Linear(width, 1) for _ in range(2)), nn.Linear(width, 3)
        g = torch.Generator().manual_seed(0)
        self.register_buffer("src", torch.randint(0, nodes, (20,), generator=g))
        self.register_buffer("dst", torch.randint(0, nodes, (20,), generator=g))
        self.register_buffer("adj", (torch.rand(nodes, nodes, generator=g) < 0.4).float())

    def forward(self, x):
        h = self.first(x).relu()
        for message, update, score in zip(self.message, self.update, self.score):
            if self.kind == "adjacency":
                m = self.adj @ message(torch.cat([h, h * h], -1)).relu()
            else:
                m = message(torch.cat([h[:, self.src], h[:, self.dst]], -1)).relu()
                m = m * score(m).sigmoid()
                m = torch.zeros_like(h).scatter_add(1, self.dst[None, :, None].expand(h.shape[0], -1, h.shape[2]), m) if self.kind == "scatter" else torch.zeros_like(h).index_add(1, self.dst, m)
            h = h + update(torch.cat([h, m], -1)).relu()
        return self.out(h.mean(1))


for kind in ("scatter", "index_add", "adjacency"):
    NETS["graph_" + kind] = functools.partial(lambda kind: (Graph(kind), (torch.randn(1, 8, 6),)), kind)


# Detectors and segmenters of torchvision: what of them exports with a free batch.
class Detector(nn.Module):
    """Backbone, pyramid and heads of a detector of torchvision, before its boxes are decoded."""

    def __init__(self, m):
        super().__init__()
        self.backbone, self.head = m.backbone, m.rpn.head if hasattr(m, "rpn") else m.head

    def forward(self, x):
        f = self.backbone(x)
        out = self.head(list(f.values()) if isinstance(f, dict) else [f])
        parts = out.values() if isinstance(out, dict) else [torch.cat([t.flatten(1) for t in ts], 1) for ts in out]
        return torch.cat([p.flatten(1) for p in parts], 1)


def backbone(out=16):
    b = tv.mobilenet_v3_small(width_mult=0.5).features
    return tv.detection.backbone_utils.BackboneWithFPN(b, {"3": "0", "8": "1", "12": "2"}, [16, 24, 288], out, extra_blocks=torchvision.ops.feature_pyramid_network.LastLevelMaxPool())


def anchors(n=4):
    return tv.detection.anchor_utils.AnchorGenerator(tuple((2 ** (5 + k),) for k in range(n)), ((0.5, 1.0, 2.0),) * n)


NETS["tv_ssdlite"] = lambda: (Detector(tv.detection.ssdlite320_mobilenet_v3_large(num_classes=5, weights_backbone=None)), image(96))
NETS["tv_retinanet"] = lambda: (Detector(tv.detection.RetinaNet(backbone(), 5, anchor_generator=anchors())), image(64))
NETS["tv_fcos"] = lambda: (Detector(tv.detection.FCOS(backbone(32), 5, anchor_generator=tv.detection.anchor_utils.AnchorGenerator(tuple((2 ** (3 + k),) for k in range(4)), ((1.0,),) * 4))), image(128))
NETS["tv_rpn"] = lambda: (Detector(tv.detection.FasterRCNN(backbone(), 5, rpn_anchor_generator=anchors(), box_roi_pool=torchvision.ops.MultiScaleRoIAlign(["0", "1"], 7, 2))), image(64))


@net
def roi_head():
    """The second stage of Faster R-CNN: features are cut out at given boxes, one a sample."""
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.features, self.head = nn.Sequential(conv(3, 16, 2), conv(16, 32, 2)), tv.detection.faster_rcnn.TwoMLPHead(32 * 25, 64)
            self.predict = tv.detection.faster_rcnn.FastRCNNPredictor(64, 5)

        def forward(self, x, boxes):
            f = self.features(x)
            rois = torch.cat([torch.arange(x.shape[0], dtype=x.dtype)[:, None], boxes.abs() * 8], 1)
            return torch.cat(self.predict(self.head(torchvision.ops.roi_align(f, rois, 5, 0.25))), 1)

    return Net(), (torch.randn(1, 3, 32, 32), torch.rand(1, 4))


class Out(nn.Module):
    def __init__(self, m):
        super().__init__()
        self.m = m

    def forward(self, x):
        return self.m(x)["out"]


NETS["lraspp"] = lambda: (Out(tv.segmentation.LRASPP(tv._utils.IntermediateLayerGetter(tv.mobilenet_v3_small(width_mult=0.5, dilated=True).features, {"3": "low", "12": "high"}), 16, 288, 5, 32)), image(64))
NETS["fcn"] = lambda: (Out(thin(tv.segmentation.fcn_resnet50(weights_backbone=None, num_classes=20, aux_loss=False), 8)), image(64))


@net
def mask_decoder():
    """Queries that attend to a pyramid and are multiplied with its finest map (Cheng et al. 2022, Mask2Former), in small."""
    class Net(nn.Module):
        def __init__(self, width=32, queries=6):
            super().__init__()
            self.a, self.b, self.up = conv(3, 24, 2), conv(24, 48, 2), nn.Conv2d(48, width, 1)
            self.skip, self.mask = nn.Conv2d(24, width, 1), nn.Conv2d(width, width, 1)
            self.queries, self.level = nn.Parameter(torch.randn(queries, width)), nn.Parameter(torch.randn(1, width))
            self.cross, self.own = nn.ModuleList(nn.MultiheadAttention(width, 4, batch_first=True) for _ in range(2)), nn.ModuleList(nn.MultiheadAttention(width, 4, batch_first=True) for _ in range(2))
            self.n1, self.n2 = nn.ModuleList(nn.LayerNorm(width) for _ in range(2)), nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
            self.cls, self.emb = nn.Linear(width, 4), nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

        def forward(self, x):
            a = self.a(x)
            b = self.up(self.b(a))
            fine = self.mask(nn.functional.interpolate(b, scale_factor=2.0) + self.skip(a))
            memory = b.flatten(2).transpose(1, 2) + self.level
            q = self.queries[None].expand(x.shape[0], -1, -1)
            for cross, own, n1, n2 in zip(self.cross, self.own, self.n1, self.n2):
                q = n1(q + cross(q, memory, memory)[0])
                q = n2(q + own(q, q, q)[0])
            masks = torch.einsum("bqc,bchw->bqhw", self.emb(q), fine)
            return torch.cat([self.cls(q), masks.flatten(2)], -1)

    return Net(), image(32)
