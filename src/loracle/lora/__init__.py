"""LoRA from scratch, in plain PyTorch: read `layer.py`, then `injection.py`, then `peft_format.py`."""
