"""Published learned methods, a file each."""
