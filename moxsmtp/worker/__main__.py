"""C{python -m moxsmtp.worker NUMBER FORMAT}: started by a server, for itself."""

import gc
import sys

# Code stays for good: to look for garbage again and again while it is read takes a
# tenth of a second of each worker.
gc.disable()
from moxsmtp.worker.entry import main  # noqa: E402 - see above

gc.freeze()
gc.enable()
main(sys.argv[1:])
