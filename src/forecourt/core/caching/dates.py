"""HTTP dates (RFC 9110 §5.6.7) as seconds since the epoch, in the one form that is sent and the three that are read."""

import calendar
import re
from email.utils import formatdate

_MONTHS = {name: number for number, name in enumerate(calendar.month_abbr) if name}
_IMF = re.compile(r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\d\d) (\w{3}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT")
_RFC850 = re.compile(r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (\d\d)-(\w{3})-(\d\d) (\d\d):(\d\d):(\d\d) GMT")
_ASCTIME = re.compile(r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (\w{3}) ([ \d]\d) (\d\d):(\d\d):(\d\d) (\d{4})")


def parsed(text: str) -> int | None:
    """Return an HTTP date as seconds since the epoch; None when it is none.

    RFC 9110 §5.6.7: recipients must accept all three formats; a two-digit year more than 50 years in the future, which
    no clock of ours has seen, is of the past century.
    """
    if match := _IMF.fullmatch(text):
        day, month, year, *time = match.groups()
    elif match := _RFC850.fullmatch(text):
        day, month, year, *time = match.groups()
        year = f"19{year}" if int(year) >= 70 else f"20{year}"
    elif match := _ASCTIME.fullmatch(text):
        month, day, *time, year = match.groups()
    else:
        return None
    if month not in _MONTHS:
        return None
    hour, minute, second = (int(each) for each in time)
    if not (1 <= int(day) <= 31 and hour < 24 and minute < 60 and second < 61):
        return None
    return calendar.timegm((int(year), _MONTHS[month], int(day), hour, minute, second))


def written(seconds: int) -> str:
    """Return the date to send: `Sun, 06 Nov 1994 08:49:37 GMT`."""
    return formatdate(seconds, usegmt=True)
