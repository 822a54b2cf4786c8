"""One file a rung of the ladder; `method` is their contract, `registry` lists them."""
