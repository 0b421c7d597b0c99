"""Small seeded pipelines of diffusers, built from the library's own classes and saved as folders."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import open_clip
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    KandinskyPipeline,
    KandinskyPriorPipeline,
    PNDMScheduler,
    PriorTransformer,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    UnCLIPScheduler,
    UNet2DConditionModel,
    VQModel,
)
from diffusers.pipelines.kandinsky.text_encoder import MCLIPConfig, MultilingualCLIP
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
from open_clip.tokenizer import bytes_to_unicode
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    XLMRobertaTokenizerFast,
)

WIDTH = 32


def tokenizer() -> CLIPTokenizer:
    """CLIP's real vocabulary, as open_clip ships it."""
    packed = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.decompress(packed.read_bytes()).decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    merges = [tuple(line.split()) for line in lines]
    letters = list(bytes_to_unicode().values())
    words = [*letters, *(letter + "</w>" for letter in letters), *map("".join, merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: i for i, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)


def text_config() -> CLIPTextConfig:
    return CLIPTextConfig(
        bos_token_id=49406, eos_token_id=49407, hidden_size=WIDTH, projection_dim=WIDTH,
        intermediate_size=37, num_attention_heads=4, num_hidden_layers=2, pad_token_id=1,
        vocab_size=49408,
    )  # fmt: skip


def kl() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=[32, 64], down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2, latent_channels=4, norm_num_groups=8,
    )  # fmt: skip


def stable_diffusion(folder: Path, *, flagging: bool = False, broken: bool = False) -> Path:
    """Stable Diffusion 1 with PNDM; with a checker that flags everything, or a decoder that gives NaN."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(32, 64), layers_per_block=1, sample_size=8, in_channels=4,
        out_channels=4, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=WIDTH,
        norm_num_groups=8,
    )  # fmt: skip
    parts: dict[str, Any] = {"safety_checker": None, "feature_extractor": None}
    if flagging:
        tower = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4,
                 "intermediate_size": 37}  # fmt: skip
        config = CLIPConfig(
            text_config=tower, vision_config={**tower, "image_size": 30, "patch_size": 10},
            projection_dim=16,
        )  # fmt: skip
        checker = StableDiffusionSafetyChecker(config)
        checker.concept_embeds_weights.requires_grad_(False).fill_(-2.0)
        size = {"height": 30, "width": 30}
        parts = {
            "safety_checker": checker,
            "feature_extractor": CLIPImageProcessor(size={"shortest_edge": 30}, crop_size=size),
        }
    pipeline = StableDiffusionPipeline(
        vae=kl(), text_encoder=CLIPTextModel(text_config()), tokenizer=tokenizer(), unet=unet,
        scheduler=PNDMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
            skip_prk_steps=True, steps_offset=1,
        ),
        image_encoder=None, requires_safety_checker=flagging, **parts,
    )  # fmt: skip
    if broken:
        with torch.no_grad():
            pipeline.vae.decoder.conv_out.bias.fill_(float("nan"))
    pipeline.save_pretrained(str(folder))
    return folder


def kandinsky(folder: Path) -> tuple[Path, Path]:
    """Kandinsky 2.1: the prior's folder and the decoder's."""
    torch.manual_seed(0)
    prior = PriorTransformer(
        num_attention_heads=2, attention_head_dim=12, embedding_dim=WIDTH, num_layers=1
    )
    prior.clip_std = torch.nn.Parameter(torch.ones(prior.clip_std.shape))
    vision = CLIPVisionConfig(
        hidden_size=WIDTH, image_size=32, projection_dim=WIDTH, intermediate_size=37,
        num_attention_heads=4, num_channels=3, num_hidden_layers=2, patch_size=16,
    )  # fmt: skip
    KandinskyPriorPipeline(
        prior=prior, image_encoder=CLIPVisionModelWithProjection(vision),
        text_encoder=CLIPTextModelWithProjection(text_config()), tokenizer=tokenizer(),
        scheduler=UnCLIPScheduler(
            variance_type="fixed_small_log", prediction_type="sample", num_train_timesteps=1000,
            clip_sample=True, clip_sample_range=10.0,
        ),
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        ),
    ).save_pretrained(str(folder / "prior"))  # fmt: skip
    unet = UNet2DConditionModel(
        in_channels=4, out_channels=8, addition_embed_type="text_image",
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn", block_out_channels=(32, 64),
        layers_per_block=1, encoder_hid_dim=WIDTH, encoder_hid_dim_type="text_image_proj",
        cross_attention_dim=WIDTH, attention_head_dim=4, resnet_time_scale_shift="scale_shift",
        class_embed_type=None,
    )  # fmt: skip
    movq = VQModel(
        block_out_channels=[32, 64], down_block_types=["DownEncoderBlock2D", "AttnDownEncoderBlock2D"],
        in_channels=3, latent_channels=4, layers_per_block=1, norm_num_groups=8,
        norm_type="spatial", num_vq_embeddings=12, out_channels=3,
        up_block_types=["AttnUpDecoderBlock2D", "UpDecoderBlock2D"], vq_embed_dim=4,
    )  # fmt: skip
    language = MCLIPConfig(
        numDims=WIDTH, transformerDimensions=WIDTH, hidden_size=WIDTH, intermediate_size=37,
        num_attention_heads=4, num_hidden_layers=2, vocab_size=1005,
    )  # fmt: skip
    letters = [(letter, -3.0) for letter in "abcdefghijklmnopqrstuvwxyz"]
    special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    words = XLMRobertaTokenizerFast(vocab=[*special, *letters, ("<mask>", 0.0)])
    KandinskyPipeline(
        text_encoder=MultilingualCLIP(language).eval(), tokenizer=words, unet=unet, movq=movq,
        scheduler=DDIMScheduler(
            num_train_timesteps=1000, beta_schedule="linear", beta_start=0.00085, beta_end=0.012,
            clip_sample=False, set_alpha_to_one=False,
        ),
    ).save_pretrained(str(folder / "decoder"))  # fmt: skip
    return folder / "prior", folder / "decoder"


def stable_diffusion_3(folder: Path) -> Path:
    """A transformer with rectified flow, as SD 3 and FLUX are, without the third text encoder."""
    torch.manual_seed(0)
    transformer = SD3Transformer2DModel(
        sample_size=32, patch_size=1, in_channels=4, num_layers=1, attention_head_dim=8,
        num_attention_heads=4, caption_projection_dim=32, joint_attention_dim=32,
        pooled_projection_dim=64, out_channels=4,
    )  # fmt: skip
    vae = AutoencoderKL(
        sample_size=32, block_out_channels=(4,), layers_per_block=1, latent_channels=4,
        norm_num_groups=1, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.06,
        scaling_factor=1.5,
    )  # fmt: skip
    StableDiffusion3Pipeline(
        transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(), vae=vae,
        text_encoder=CLIPTextModelWithProjection(text_config()), tokenizer=tokenizer(),
        text_encoder_2=CLIPTextModelWithProjection(text_config()), tokenizer_2=tokenizer(),
        text_encoder_3=None, tokenizer_3=None,
    ).save_pretrained(str(folder))  # fmt: skip
    return folder


def autoencoder_kl(folder: Path) -> Path:
    torch.manual_seed(0)
    kl().save_pretrained(str(folder))
    return folder


def autoencoder_tiny(folder: Path) -> Path:
    torch.manual_seed(0)
    AutoencoderTiny(
        encoder_block_out_channels=(32, 32), decoder_block_out_channels=(32, 32),
        num_encoder_blocks=(1, 2), num_decoder_blocks=(2, 1), latent_channels=4,
    ).save_pretrained(str(folder))  # fmt: skip
    return folder


def taesd_files(folder: Path, channels: int = 4) -> tuple[Path, Path]:
    """An encoder and a decoder with the keys of TAESD's own layers: the decoder begins with a clamp."""
    from safetensors.torch import save_file

    torch.manual_seed(0)
    state = AutoencoderTiny(latent_channels=channels).state_dict()
    encoder, decoder = {}, {}
    for key, value in state.items():
        part, _, index, rest = key.split(".", 3)
        if part == "encoder":
            encoder[f"{index}.{rest}"] = value.contiguous()
        else:
            decoder[f"{int(index) + 1}.{rest}"] = value.contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    save_file(encoder, folder / "encoder.safetensors")
    save_file(decoder, folder / "decoder.safetensors")
    return folder / "encoder.safetensors", folder / "decoder.safetensors"
