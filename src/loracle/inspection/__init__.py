"""What the data is like, before anything is trained."""
