"""`python -m patchline_ros.cli`: what `patchline` is, for torchrun and for checkouts."""

from patchline_ros.cli.app import app

if __name__ == "__main__":
    app()
