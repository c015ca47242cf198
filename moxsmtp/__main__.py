"""C{python -m moxsmtp}: the same as the script C{moxsmtp}."""

from moxsmtp.admin.cli import main

if __name__ == "__main__":
    main()
