"""What each task is called in words; the held-out phrasings are never used for training episodes."""

from dataclasses import dataclass

from mola_core.contracts.errors import ConfigError


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One task: its name, its phrasings and its time limit."""

    name: str
    train: tuple[str, ...]
    held_out: tuple[str, ...]
    time_limit_s: float

    def phrase(self, *, index: int, held_out: bool, names: dict[str, str]) -> str:
        """The ``index``-th phrasing (modulo their number) with the colour names filled in."""
        phrasings = self.held_out if held_out else self.train
        return phrasings[index % len(phrasings)].format(**names)


TASKS: dict[str, TaskSpec] = {
    spec.name: spec
    for spec in (
        TaskSpec(
            "bottle_in_bin",
            train=(
                "put the bottle in the bin",
                "place the bottle into the bin",
                "pick up the bottle and drop it in the bin",
                "move the bottle to the bin",
                "throw the bottle in the bin",
                "get the bottle into the bin",
                "into the bin with the bottle",
                "dispose of the bottle",
                "drop the bottle into the bin",
                "bin the bottle",
            ),
            held_out=(
                "the bottle belongs in the bin",
                "take the bottle and get rid of it in the bin",
                "grasp the bottle, then release it over the bin",
            ),
            time_limit_s=25.0,
        ),
        TaskSpec(
            "grab_bowl",
            train=(
                "grab the bowl",
                "pick up the bowl",
                "lift the bowl",
                "take the bowl off the table",
                "grasp the bowl and lift it",
                "get the bowl",
                "pick the bowl up from the table",
                "take the bowl",
                "have the bowl in the hand",
                "lift up the bowl",
            ),
            held_out=(
                "hold the bowl above the table",
                "raise the bowl into the air",
                "get hold of the bowl and bring it up",
            ),
            time_limit_s=20.0,
        ),
        TaskSpec(
            "stack_blocks",
            train=(
                "stack the {top} block on the {bottom} block",
                "put the {top} block on top of the {bottom} block",
                "place the {top} block on the {bottom} one",
                "pick up the {top} block and stack it on the {bottom} block",
                "set the {top} block on the {bottom} block",
                "get the {top} block onto the {bottom} block",
                "on the {bottom} block put the {top} block",
                "make a stack: {bottom} block at the bottom, {top} block on it",
                "lift the {top} block and lower it onto the {bottom} block",
                "leave the {bottom} block where it is and put the {top} one on it",
            ),
            held_out=(
                "the {top} block should sit on the {bottom} block",
                "build a tower with the {bottom} block below and the {top} block above",
                "make the {bottom} block carry the {top} block",
            ),
            time_limit_s=25.0,
        ),
        TaskSpec(
            "open_drawer",
            train=(
                "open the drawer",
                "pull the drawer open",
                "pull out the drawer",
                "open the drawer of the cabinet",
                "slide the drawer open",
                "get the drawer open",
                "drag the drawer out",
                "pull at the handle",
                "pull the drawer out of the cabinet",
                "make the drawer come out",
            ),
            held_out=(
                "the drawer should be open",
                "take the handle and draw the drawer towards you",
                "get the cabinet opened up",
            ),
            time_limit_s=20.0,
        ),
        TaskSpec(
            "press_button",
            train=(
                "press the button",
                "push the button",
                "press down on the button",
                "push the button down",
                "hit the button",
                "press the button down",
                "make the button go in",
                "use the button",
                "hit the button once",
                "activate the button",
            ),
            held_out=(
                "the button needs to be pressed",
                "touch the button firmly from above",
                "give the button a push",
            ),
            time_limit_s=15.0,
        ),
    )
}


def task_spec(name: str) -> TaskSpec:
    """The task called ``name``.

    Raises:
        ConfigError: there is no such task; the message names those there are.
    """
    if name not in TASKS:
        raise ConfigError(f"task {name!r} is not known; choose one of {', '.join(TASKS)}")
    return TASKS[name]
