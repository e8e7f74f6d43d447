"""Published claims, re-run: one file per claim set."""
