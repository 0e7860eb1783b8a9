"""Where the objects of a dataset are in the store."""


def dataset_prefix(project: str, id_: str, uid: str) -> str:
    """Give the prefix of their keys, with a slash at the end.

    The uid keeps late uploads to a deleted dataset out of one that took its name.
    """
    return f"projects/{project}/datasets/{id_}-{uid}/"
