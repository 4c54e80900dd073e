"""Export of a model as a plain SavedModel."""
