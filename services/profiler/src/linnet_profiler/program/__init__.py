"""Flash: what a firmware links."""
