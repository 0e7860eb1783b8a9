"""`python -m linnet_sdk` is `linnet`."""

from linnet_sdk.cli.main import main

if __name__ == "__main__":
    main()
