"""Where objects are in the store: prefixes of their keys, each with a slash at the end.

The uid keeps what comes late for a deleted resource out of one that took its name.
"""


def dataset_prefix(project: str, id_: str, uid: str) -> str:
    """Give the prefix of a dataset's files."""
    return f"projects/{project}/datasets/{id_}-{uid}/"


def batch_prefix(project: str, id_: str, uid: str) -> str:
    """Give the prefix of what is stored of a batch itself; its runs have their own."""
    return f"projects/{project}/batches/{id_}-{uid}/"
