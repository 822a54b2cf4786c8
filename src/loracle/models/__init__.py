"""Base models: `loading` finds them, `families` knows them by name, `counting` counts their parameters."""
