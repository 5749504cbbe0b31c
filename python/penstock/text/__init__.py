"""Text and tokens: tokenizer, chat templates, prompts, stop strings."""
