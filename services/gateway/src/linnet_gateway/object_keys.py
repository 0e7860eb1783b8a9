"""Where objects are in the store: prefixes of their keys, each with a slash at the end.

The uid keeps what comes late for a deleted resource out of one that took its name.
"""


def dataset_prefix(project: str, id_: str, uid: str) -> str:
    """Give the prefix of a dataset's files."""
    return f"projects/{project}/datasets/{id_}-{uid}/"


def upload_prefix(project: str, id_: str, uid: str) -> str:
    """Give the prefix that clients put a dataset's files to."""
    return f"{dataset_prefix(project, id_, uid)}upload/"


def checked_prefix(project: str, id_: str, uid: str, check: str) -> str:
    """Give the prefix of the files that one check of a dataset read: nobody may put to it."""
    return f"{dataset_prefix(project, id_, uid)}checked-{check}/"


def batch_prefix(project: str, id_: str, uid: str) -> str:
    """Give the prefix of what is stored of a batch itself; its runs have their own."""
    return f"projects/{project}/batches/{id_}-{uid}/"
