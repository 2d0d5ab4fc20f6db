"""``python -m audiform``."""

from audiform.cli.main import main

if __name__ == "__main__":  # a worker process that starts afresh imports this, too
    main()
