"""What an administrator does about records that could not be applied: look, replay, discard."""
