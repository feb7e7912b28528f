"""TRL: SFTTrainer."""

# needs: trl transformers datasets
# sick: "learning_rate=2e-3" -> "learning_rate=30.0"

import random
import tempfile

from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed
from trl import SFTConfig, SFTTrainer

set_seed(0)
WORDS = "the cat dog bird sees eats likes a fish mouse seed and then sleeps".split()
vocabulary = {word: i for i, word in enumerate(["<pad>", "<s>", "</s>", "<unk>", *WORDS])}
words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
words.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=words, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
)


def sentence():
    eater, food = random.choice([("cat", "fish"), ("dog", "mouse"), ("bird", "seed")])
    return f"the {eater} sees a {food} and then the {eater} eats the {food} and sleeps"


model = LlamaForCausalLM(
    LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
)
trainer = SFTTrainer(
    model=model,
    processing_class=tokenizer,
    train_dataset=Dataset.from_dict({"text": [sentence() for _ in range(320)]}),
    args=SFTConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=8,
        learning_rate=2e-3,
        num_train_epochs=2,
        max_length=32,
        logging_steps=10,
        bf16=False,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    ),
)
result = trainer.train()
print(f"loss {result.training_loss:.4f}")
