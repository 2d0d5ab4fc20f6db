"""The trainer: settings, examples, objectives, the loop, and the state that it resumes from."""
