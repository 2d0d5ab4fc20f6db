"""Pure functions on tensors: any leading dimensions, no files, no global state."""
