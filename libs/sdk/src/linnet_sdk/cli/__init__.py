"""The `linnet` command: talks to people; each sub-command is imported when it is used."""
