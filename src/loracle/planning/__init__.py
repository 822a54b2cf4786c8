"""What a training will take, before anything is downloaded or trained: start with `forecasting`."""
