"""Loracle."""
