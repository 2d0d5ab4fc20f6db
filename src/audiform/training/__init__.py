"""The trainer: settings, losses, state, loop."""
