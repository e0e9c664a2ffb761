"""The REST API, version 1. Its handlers are plain functions, which the pages call as well."""
