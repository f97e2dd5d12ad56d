"""`veilcast-enroll` and `python -m enrollment`: runs the command line, nothing else."""

from __future__ import annotations

from enrollment.cli import app


def main() -> None:
    """The console command."""
    app(prog_name="veilcast-enroll")


if __name__ == "__main__":
    main()
