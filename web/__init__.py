"""Search in the browser: accounts, pages, and the interface for programs."""
