"""Hugging Face: Trainer with accumulation, max_grad_norm and bf16."""

# needs: transformers accelerate
# sick: "learning_rate=1e-3" -> "learning_rate=3.0"

import tempfile

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainingArguments,
    set_seed,
)

set_seed(0)


class Words(torch.utils.data.Dataset):
    def __init__(self, count):
        generator = torch.Generator().manual_seed(count)
        self.labels = torch.randint(0, 2, (count,), generator=generator)
        low = torch.randint(2, 32, (count, 12), generator=generator)
        self.ids = low + 30 * self.labels[:, None]

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, i):
        return {
            "input_ids": self.ids[i],
            "attention_mask": torch.ones(12, dtype=torch.long),
            "labels": self.labels[i],
        }


model = BertForSequenceClassification(
    BertConfig(
        vocab_size=64,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
    )
)
args = TrainingArguments(
    output_dir=tempfile.mkdtemp(),
    per_device_train_batch_size=16,
    gradient_accumulation_steps=2,
    max_grad_norm=1.0,
    learning_rate=1e-3,
    num_train_epochs=3,
    logging_steps=10,
    bf16=True,
    use_cpu=True,
    report_to=[],
    save_strategy="no",
    disable_tqdm=True,
)
trainer = Trainer(model=model, args=args, train_dataset=Words(640))
result = trainer.train()
print(f"loss {result.training_loss:.4f}")
