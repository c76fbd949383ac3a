"""What users' functions raise."""


class OfTheirOwnError(Exception):
    pass


def fail(*_, **__):
    raise OfTheirOwnError("first line\nsecond line")
