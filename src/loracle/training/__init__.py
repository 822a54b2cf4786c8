"""The one training loop, and what it needs: batches, precision, progress."""
