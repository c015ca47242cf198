"""
The ports at which the parts meet, and the values that pass through them.

A method that answers later gives an C{Awaitable}: a coroutine or a
C{Deferred}.  Nothing here waits, logs or knows the time.
"""

from moxsmtp.interfaces.accounts import (
    INBOX,
    Account,
    AddressRole,
    Alias,
    HookTarget,
    IAccounts,
    LocalRecipient,
    MailboxKind,
    Maildir,
    Member,
    OutgoingEvent,
    RoleAddress,
)
from moxsmtp.interfaces.clients import (
    ChannelBinding,
    Client,
    Hello,
    IKeyJudge,
    Login,
    Role,
    TLSInfo,
)
from moxsmtp.interfaces.content import (
    IContent,
    InsufficientStorage,
    ISpool,
    Spooled,
    StorageUnavailable,
)
from moxsmtp.interfaces.credentials import (
    CertificateAttempt,
    IClientKeys,
    ICredentials,
    IPasswordHashes,
    LoginSecrets,
    PasswordAttempt,
    PasswordSecrets,
)
from moxsmtp.interfaces.lookups import IOwnResolver, IResolver
from moxsmtp.interfaces.mail import (
    UNCHECKED,
    Echo,
    IMailStore,
    NewHook,
    NewMessage,
    Provenance,
    RequireTLS,
    Validation,
)
from moxsmtp.interfaces.policies import IPolicies, StsFound
from moxsmtp.interfaces.queue import Allowance, IQueue, NewJob
from moxsmtp.interfaces.session import IMetrics, IReceiver

__all__ = [
    "INBOX", "UNCHECKED", "Account", "AddressRole", "Alias", "Allowance", "CertificateAttempt",
    "ChannelBinding", "Client", "Echo", "Hello", "HookTarget", "IAccounts", "IClientKeys",
    "IContent", "ICredentials", "IKeyJudge", "IMailStore", "IMetrics", "IOwnResolver",
    "IPasswordHashes", "IPolicies", "IQueue", "IReceiver", "IResolver", "ISpool",
    "InsufficientStorage",
    "LocalRecipient", "Login", "LoginSecrets", "MailboxKind", "Maildir", "Member", "NewHook",
    "NewJob", "NewMessage", "OutgoingEvent", "PasswordAttempt", "PasswordSecrets", "Provenance",
    "RequireTLS", "Role", "RoleAddress", "Spooled", "StorageUnavailable", "StsFound", "TLSInfo",
    "Validation",
]  # fmt: skip
