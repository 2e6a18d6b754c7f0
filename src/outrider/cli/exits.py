"""How the command line ends: every exit code, in one place, and the exceptions that lead there.

====  ======================================================================================================
code  meaning
====  ======================================================================================================
0     done
1     it did not work; the sentence on standard error says why
2     the command line itself is wrong (unknown option, missing argument)
3     there is no such object
4     refused: the input is not valid, or the change would leave something without what it needs
5     nobody answers: the controller or agent is not running, or not at that address
6     not allowed: this needs root
70    a fault of Outrider itself; the traceback is in a file that the message names (EX_SOFTWARE of sysexits.h)
130   interrupted (Ctrl-C)
====  ======================================================================================================

``outrider lab exec`` ends with the code of the command it ran.
"""

from collections.abc import Sequence

OK = 0
FAILED = 1
USAGE = 2
NOT_FOUND = 3
REFUSED = 4
UNREACHABLE = 5
NOT_ALLOWED = 6
CRASHED = 70
INTERRUPTED = 130


class CliError(Exception):
    """Ends the program with ``code``, one line on standard error for each of ``lines``."""

    def __init__(self, code: int, *lines: str) -> None:
        self.code = code
        self.lines: Sequence[str] = lines
        super().__init__("\n".join(lines))
