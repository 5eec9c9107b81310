"""The command line, one module a command. Only what is called is imported."""
