"""Any model over audio of any length, in constant memory, and its results into files."""
