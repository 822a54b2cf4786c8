"""Asking a language model through an API: what is sent, what came back, what it cost."""
