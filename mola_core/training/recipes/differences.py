"""Where two descriptions differ, for people."""


def differences(old: object, new: object, where: str = "") -> list[str]:
    """What ``new`` says otherwise than ``old``, both as JSON holds them: a sentence for each setting, which ``where`` leads to."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for name in sorted(old.keys() | new.keys()):
            found += differences(old.get(name), new.get(name), f"{where}.{name}" if where else name)
        return found
    return [] if old == new else [f"{where} was {old!r} and is {new!r}"]
