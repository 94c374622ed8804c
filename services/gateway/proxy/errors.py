"""What can go wrong between the gateway and a service."""


class UpstreamError(Exception):
    """The exchange with a service failed; the connection is gone."""


class UpstreamUnreachable(UpstreamError):
    """No connection, or it broke before the answer was complete."""


class UpstreamTimeout(UpstreamError):
    """The service did not connect, read or answer in time."""


class ClientGone(Exception):
    """The caller went away: nobody is left to answer."""


class ClientTooSlow(Exception):
    """The caller stopped sending in the middle of a body."""
