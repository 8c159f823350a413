"""`python -m penguiflow` is the command `penguiflow`."""

from penguiflow.cli import main

raise SystemExit(main())
