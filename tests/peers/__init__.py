"""
Our server among real programs: Postfix, unbound, Dovecot, PostgreSQL, swaks,
curl, gsasl, openssl, strace, Prometheus, and an HTTP server.  Nothing here is a double.

C{tox -e peers}, which is C{python -m tests.peers}, runs these tests; C{trial
tests} does not.  Each starts the servers that it needs on free loopback ports, in
a folder of its own, and ends them by their process numbers.  A program that is
not installed is named and its tests are skipped; with C{MOXSMTP_REQUIRE_PEERS=1}
they fail instead.  On Debian::

    apt-get install postfix swaks unbound postgresql dovecot-imapd curl gsasl openssl \\
        strace prometheus

Postfix and Dovecot have to be started by root; PostgreSQL is then run as the
user C{postgres}.
"""
