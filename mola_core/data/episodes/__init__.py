"""Raw recordings: one folder an episode, a bag as rosbag2 writes it and ``episode.json`` beside it."""
