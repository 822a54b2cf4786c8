"""Labelled texts in, a Task with three splits out."""
