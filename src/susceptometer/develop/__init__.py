"""The same quantities over training: trajectories of many runs, stages and transitions, opposing staircases."""
