"""Why a servo process left, as an exit code; and what each code says to a person."""

from enum import IntEnum


class ServoExit(IntEnum):
    """Exit codes of ``python -m mola_nodes.servo_process``."""

    ASKED = 0
    BUG = 1
    BAD_SITE = 2
    ARM_NOT_READY = 20
    ARM_REFUSED = 21
    LINK_LOST = 22
    ARM_SILENT = 23
    CONTROLLER_LOST = 24
    NO_CONTROLLER = 25

    @property
    def sentence(self) -> str:
        """What happened, for people."""
        return _SENTENCES[self]

    @property
    def is_worth_a_restart(self) -> bool:
        """A fresh process may fare better."""
        return self not in {ServoExit.BAD_SITE, ServoExit.CONTROLLER_LOST}


_SENTENCES = {
    ServoExit.ASKED: "the servo process was asked to leave and braked first",
    ServoExit.BUG: "the servo process failed on a bug of ours; its traceback is on stderr",
    ServoExit.BAD_SITE: "the site file cannot be used; correct it and start again",
    ServoExit.ARM_NOT_READY: "the arm could not be connected or may not move yet",
    ServoExit.ARM_REFUSED: "the controller refused a command: a safety stop, or its program was stopped",
    ServoExit.LINK_LOST: "the link to the controller broke",
    ServoExit.ARM_SILENT: "the controller stopped talking: its clock stands still",
    ServoExit.CONTROLLER_LOST: "the controller node died; the arm was braked",
    ServoExit.NO_CONTROLLER: "there is no controller node at the other end of the link",
}


def describe_exit(code: int) -> str:
    """A sentence for any exit status, those of signals included (negative, as in ``subprocess``)."""
    if code < 0:
        return f"the servo process was killed by signal {-code}"
    try:
        return ServoExit(code).sentence
    except ValueError:
        return f"the servo process left with the unknown code {code}"
