"""The web server: REST API and pages over one gallery."""
