"""What log_ingest answers: the API, the pages, and its health."""
