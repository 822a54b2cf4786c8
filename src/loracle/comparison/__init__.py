"""Run every method with every seed, keep it all, and decide: start with `running`, end with `deciding`."""
