"""What can go wrong, as exceptions."""


class MagpieError(Exception):
    """The base of all errors of this package."""


class ConnectError(MagpieError, ConnectionError):
    """The cell was not found, or does not let us in; or this process is a fork of one that had
    connected."""


class QueryError(MagpieError):
    """A question was refused, or its answer must not be believed."""


class Unanswered(QueryError, TimeoutError):
    """Nobody answered a question."""


class Expired(MagpieError):
    """The time of the result was over when it was asked for. Take a newer one."""


class WrongFrame(MagpieError):
    """The pose is in another reference frame than the one that was asked for."""
