"""A recorded motion once more: from an episode or a dataset to the chunks that ask for it again."""
