"""The one exception for what a user can mend."""


class InputError(ValueError):
    """Something given to us is wrong, and the user can put it right.

    The message is one sentence for that person: what was wrong, where, and what to do. The command
    line prints it without a traceback and exits with status 2.
    """
