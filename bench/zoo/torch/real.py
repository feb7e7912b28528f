"""Models of transformers, built from their own configurations with random weights: never tuned to.

Small configurations where the full one would take gigabytes; attention by PyTorch's own function.
"""

from __future__ import annotations

from typing import Any

import transformers
from torch import Tensor, nn

from bench.zoo.architecture import Collection

zoo = Collection("torch")


class Logits(nn.Module):
    """The logits alone; last: of the last token of each sequence."""

    def __init__(self, model: nn.Module, *, last: bool = False) -> None:
        super().__init__()
        self.model, self.last = model, last

    def forward(self, x: Tensor) -> Tensor:
        """x: what the model takes first."""
        logits = self.model(x).logits
        return logits[:, -1] if self.last else logits


@zoo.real(3, 96, 96, batch=8)
def vit_small() -> Any:
    """ViT, 12 layers of 384."""
    config = transformers.ViTConfig(
        image_size=96,
        hidden_size=384,
        num_attention_heads=6,
        intermediate_size=1536,
        num_labels=10,
    )
    return Logits(transformers.ViTForImageClassification(config))


@zoo.real(3, 96, 96, batch=8)
def convnext_tiny() -> Any:
    """ConvNeXt, tiny."""
    config = transformers.ConvNextConfig(num_labels=10)
    return Logits(transformers.ConvNextForImageClassification(config))


@zoo.real(3, 128, 128, batch=8)
def swin_tiny() -> Any:
    """Swin, tiny, windows of 4."""
    config = transformers.SwinConfig(image_size=128, window_size=4, num_labels=10)
    return Logits(transformers.SwinForImageClassification(config))


@zoo.real(3, 96, 96, batch=8)
def resnet50() -> Any:
    """ResNet-50."""
    config = transformers.ResNetConfig(num_labels=10)
    return Logits(transformers.ResNetForImageClassification(config))


@zoo.real(48, batch=8, vocabulary=2000)
def bert_small() -> Any:
    """BERT, 6 layers of 256."""
    config = transformers.BertConfig(
        vocab_size=2000,
        hidden_size=256,
        num_hidden_layers=6,
        num_attention_heads=4,
        intermediate_size=1024,
        num_labels=10,
    )
    return Logits(transformers.BertForSequenceClassification(config))


@zoo.real(48, batch=8, vocabulary=2000)
def gpt2_small() -> Any:
    """GPT-2, 8 layers of 256; next-token logits of the last token."""
    config = transformers.GPT2Config(
        vocab_size=2000,
        n_embd=256,
        n_layer=8,
        n_head=4,
        n_positions=64,
        use_cache=False,
        bos_token_id=0,
        eos_token_id=0,
    )
    return Logits(transformers.GPT2LMHeadModel(config), last=True)


@zoo.real(48, batch=8, vocabulary=2000)
def llama_small() -> Any:
    """Llama, 8 layers of 256, grouped queries; next-token logits of the last token."""
    config = transformers.LlamaConfig(
        vocab_size=2000,
        hidden_size=256,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=2,
        intermediate_size=704,
        use_cache=False,
    )
    return Logits(transformers.LlamaForCausalLM(config), last=True)
