"""``python -m audiform``."""

from audiform.cli.main import main

main()
