"""The stages by name and in their order, and the commands that train them."""

from mola_core.training.recipe import Recipe

STAGES = ("autoencoder", "video", "idm", "policy")
WITHOUT_WORDS = "autoencoder"
"""The stage that reads no sentence: what it makes goes with any encoder of them."""
NUMBERED = {"stage1": ("autoencoder", "video"), "stage2": ("idm",), "stage3": ("policy",), "all": STAGES}


def stage_after(stage: str, recipe: Recipe) -> str:
    """The command (a name of NUMBERED) of what is to be trained after ``stage`` of ``recipe``; a policy goes on learning."""
    after = STAGES[STAGES.index(stage) + 1 :]
    following = next((name for name in after if getattr(recipe, name) is not None), STAGES[-1])
    return next(command for command, names in NUMBERED.items() if following in names)
