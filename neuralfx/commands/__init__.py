"""The commands behind ``neuralfx <command>``: one file each, with ``main(argv) -> exit code``."""
