"""Where logs are kept: the LogStore port and its two backends, embedded chDB and a ClickHouse server over HTTP."""
