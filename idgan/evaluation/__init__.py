"""Measuring a sampler: the metrics, what each needs of the model and its data, and the file of results."""
