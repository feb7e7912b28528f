"""The architectures of the zoo of truth: what the whole field trains, at its own initialisation.

A name, a side of the images (or what kind of tokens), and how to make the network. Nothing is imported before a
network is made. Each is checked with the optimizers that people use for it, and trained with the first of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

CLASSES = 10
Task = Literal["images", "tokens", "next token", "tokens to tokens"]
SGD, MOMENTUM, ADAM, ADAMW = "SGD 0.01", "SGD 0.01 momentum 0.9", "Adam 0.001", "AdamW 0.0003"


@dataclass(frozen=True, slots=True)
class Architecture:
    """One network. side: of its images. optimizers: each makes a check, the first a training."""

    library: str
    name: str
    build: Callable[[], Any]
    optimizers: tuple[str, ...]
    side: int = 64
    task: Task = "images"

    @property
    def half(self) -> str:
        """By a hash of the name: what is tuned is tuned on development alone."""
        first = hashlib.sha256(f"{self.library} {self.name}".encode()).digest()[0]
        return "development" if first % 2 else "measured once"

    @property
    def framework(self) -> str:
        """Which worker trains it."""
        return "keras" if self.library == "keras" else "torch"


def every() -> tuple[Architecture, ...]:
    """All of them, in a fixed order, the quickest to train first."""
    return (*_transformers(), *_timm(), *_torchvision(), *_keras())


def _torchvision() -> list[Architecture]:
    def make(name: str, **own: Any) -> Callable[[], Any]:
        def build() -> Any:
            import torchvision

            return getattr(torchvision.models, name)(weights=None, num_classes=CLASSES, **own)

        return build

    convolutional: dict[str, tuple[int, dict[str, Any]]] = {
        "shufflenet_v2_x0_5": (64, {}), "squeezenet1_1": (64, {}), "mobilenet_v3_small": (64, {}),
        "mnasnet0_5": (64, {}), "mobilenet_v2": (48, {}), "resnet18": (64, {}), "mnasnet1_0": (32, {}),
        "mobilenet_v3_large": (32, {}),
        "shufflenet_v2_x1_0": (32, {}), "regnet_y_400mf": (32, {}), "regnet_x_400mf": (64, {}),
        "googlenet": (32, {"aux_logits": False, "init_weights": True}), "efficientnet_b0": (48, {}),
        "densenet121": (32, {}), "resnet50": (32, {}), "resnext50_32x4d": (32, {}),
        "inception_v3": (80, {"aux_logits": False, "init_weights": True}), "efficientnet_v2_s": (32, {}),
        "alexnet": (64, {}), "wide_resnet50_2": (32, {}), "vgg11_bn": (32, {}), "vgg16_bn": (32, {}),
        "vgg16": (32, {}),
    }  # fmt: skip
    attentive: dict[str, tuple[int, dict[str, Any]]] = {
        "convnext_tiny": (32, {}), "swin_t": (32, {}), "swin_v2_t": (32, {}),
        "vit_b_32": (64, {"image_size": 64}),
    }  # fmt: skip
    return [
        Architecture(
            "torchvision", name, make(name, **own), optimizers[i % 2 :] + optimizers[: i % 2], side
        )
        for group, optimizers in ((convolutional, (SGD, ADAMW)), (attentive, (ADAMW,)))
        for i, (name, (side, own)) in enumerate(group.items())
    ]


def _timm() -> list[Architecture]:
    def make(name: str, **own: Any) -> Callable[[], Any]:
        def build() -> Any:
            import timm

            return timm.create_model(name, pretrained=False, num_classes=CLASSES, **own)

        return build

    sized = {"img_size": 64}
    convolutional: dict[str, int] = {
        "resnetv2_50": 32, "seresnet33ts": 32, "skresnet18": 32, "res2net50_14w_8s": 32, "dla34": 32,
        "ghostnet_100": 32, "repvgg_a0": 32, "nf_resnet26": 32, "nf_regnet_b0": 32, "eca_nfnet_l0": 32,
        "rexnet_100": 32, "hardcorenas_a": 32, "lcnet_050": 64, "tinynet_e": 32, "ese_vovnet19b_dw": 32,
        "cspresnet50": 32, "mobilenetv4_conv_small": 32, "selecsls42b": 32,
    }  # fmt: skip
    attentive: dict[str, dict[str, Any]] = {
        "vit_tiny_patch16_224": sized, "deit_tiny_patch16_224": sized, "mixer_s32_224": sized,
        "resmlp_12_224": sized, "gmlp_s16_224": sized, "xcit_nano_12_p16_224": sized, "cait_xxs24_224": sized,
        "poolformer_s12": {}, "mobilevit_xxs": {}, "edgenext_xx_small": {}, "pvt_v2_b0": {},
        "convnextv2_atto": {}, "beit_base_patch16_224": {**sized, "depth": 4, "embed_dim": 192, "num_heads": 3},
    }  # fmt: skip
    found = [
        Architecture("timm", name, make(name), (MOMENTUM if i % 2 else SGD,), side)
        for i, (name, side) in enumerate(convolutional.items())
    ]
    return found + [
        Architecture("timm", name, make(name, **own), (ADAMW,)) for name, own in attentive.items()
    ]


def _transformers() -> list[Architecture]:
    words = {"vocab_size": 24, "pad_token_id": 17, "bos_token_id": 18, "eos_token_id": 19}
    small = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4}
    bert = {**words, **small, "intermediate_size": 128, "max_position_embeddings": 80}
    llama = {**bert, "num_key_value_heads": 2}
    deep = {"n_embd": 64, "n_layer": 12, "n_head": 4, "n_positions": 80}
    bart = {
        **words, "d_model": 64, "encoder_layers": 3, "decoder_layers": 3, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128,
        "max_position_embeddings": 80, "decoder_start_token_id": 18,
    }  # fmt: skip
    t5 = {
        **words, "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 3, "num_heads": 4,
        "decoder_start_token_id": 18,
    }  # fmt: skip
    vit = {**small, "intermediate_size": 128, "image_size": 32, "patch_size": 8}
    classify: dict[str, dict[str, Any]] = {
        "Bert": bert, "Roberta": {**bert, "max_position_embeddings": 100},
        "Albert": {**bert, "embedding_size": 32}, "Electra": {**bert, "embedding_size": 32}, "DebertaV2": bert,
        "DistilBert": {**words, "dim": 64, "n_layers": 4, "n_heads": 4, "hidden_dim": 128},
    }  # fmt: skip
    continue_: dict[str, tuple[str, dict[str, Any]]] = {
        "GPT2": ("GPT2LMHeadModel", {**words, **deep}), "GPTNeoX": ("GPTNeoXForCausalLM", bert),
        "OPT": ("OPTForCausalLM", {**words, **small, "ffn_dim": 128, "word_embed_proj_dim": 64}),
        "Bloom": ("BloomForCausalLM", {**words, "hidden_size": 64, "n_layer": 4, "n_head": 4}),
        "Llama": ("LlamaForCausalLM", llama), "Mistral": ("MistralForCausalLM", llama),
        "Qwen2": ("Qwen2ForCausalLM", llama), "Gemma": ("GemmaForCausalLM", {**llama, "head_dim": 16}),
        "Phi": ("PhiForCausalLM", bert),
    }  # fmt: skip
    translate = {"T5": t5, "Bart": bart}
    pictures: dict[str, dict[str, Any]] = {
        "ViT": vit, "DeiT": vit, "ConvNext": {"hidden_sizes": [16, 32, 64, 128], "depths": [1, 1, 2, 1]},
        "Swin": {
            "image_size": 32, "patch_size": 2, "embed_dim": 24, "depths": [2, 2], "num_heads": [2, 4],
            "window_size": 4,
        },
        "ResNet": {"embedding_size": 16, "hidden_sizes": [32, 64, 128, 256], "depths": [2, 2, 2, 2]},
        "Segformer": {
            "hidden_sizes": [16, 32, 64, 128], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 2, 4, 8],
        },
    }  # fmt: skip

    def make(kind: str, config: str, own: dict[str, Any]) -> Callable[[], Any]:
        def build() -> Any:
            import transformers

            return getattr(transformers, kind)(getattr(transformers, config)(**own))

        return build

    found = []
    for name, own in classify.items():
        build = make(
            f"{name}ForSequenceClassification", f"{name}Config", {**own, "num_labels": CLASSES}
        )
        found.append(Architecture("transformers", name, build, (ADAMW,), 8, "tokens"))
    for name, (kind, own) in continue_.items():
        found.append(
            Architecture(
                "transformers", name, make(kind, f"{name}Config", own), (ADAMW,), 8, "next token"
            )
        )
    for name, own in translate.items():
        build = make(f"{name}ForConditionalGeneration", f"{name}Config", own)
        found.append(Architecture("transformers", name, build, (ADAMW,), 8, "tokens to tokens"))
    for name, own in pictures.items():
        optimizer = SGD if name == "ResNet" else ADAMW
        build = make(
            f"{name}ForImageClassification", f"{name}Config", {**own, "num_labels": CLASSES}
        )
        found.append(Architecture("transformers", name, build, (optimizer,), 32))
    return found


def _keras() -> list[Architecture]:
    def make(name: str, side: int) -> Callable[[], Any]:
        def build() -> Any:
            import keras

            return getattr(keras.applications, name)(
                weights=None, classes=CLASSES, input_shape=(side, side, 3)
            )

        return build

    sides = {
        "MobileNet": 32, "MobileNetV2": 64, "MobileNetV3Small": 64, "ResNet50": 32, "ResNet50V2": 64,
        "DenseNet121": 32, "EfficientNetB0": 32, "EfficientNetV2B0": 64, "Xception": 96, "VGG16": 32,
        "ConvNeXtTiny": 32,
    }  # fmt: skip
    return [
        Architecture(
            "keras", name, make(name, side), (SGD if name == "ResNet50V2" else ADAM,), side
        )
        for name, side in sides.items()
    ]
